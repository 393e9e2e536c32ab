// Moving on the timeline: wheel, keys, drag; choosing an item, and going back to what caused it.

const CLOSEST = 50; // µs across the whole width

function setWindow(view, { from, to }) {
  const whole = view.course.end - view.course.start;
  const span = Math.min(Math.max(to - from, CLOSEST), whole);
  const first = Math.min(Math.max(from, view.course.start), view.course.end - span);
  Object.assign(view, { from: first, to: first + span });
  if (view.drawing) return;
  view.drawing = requestAnimationFrame(() => {
    view.drawing = 0;
    draw(view);
  });
}

// Keys and buttons zoom around what was chosen, as long as it is in sight.
function zoom(view, factor, at) {
  const seen = view.chosen && view.chosen.t0 >= view.from && view.chosen.t0 <= view.to;
  const around = at ?? (seen ? view.chosen.t0 : (view.from + view.to) / 2);
  setWindow(view, { from: around - (around - view.from) * factor, to: around + (view.to - around) * factor });
}

function pan(view, part) {
  const by = (view.to - view.from) * part;
  setWindow(view, { from: view.from + by, to: view.to + by });
}

function listen(view) {
  const { svg } = view;
  const at = (event) => timeAt(view, event.clientX - svg.getBoundingClientRect().left);
  svg.addEventListener(
    'wheel',
    (event) => {
      // the wheel belongs to the page until somebody works on the timeline, or holds Ctrl
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (!sideways && !event.ctrlKey && document.activeElement !== svg) return;
      event.preventDefault();
      if (sideways) pan(view, (event.deltaX || event.deltaY) / view.width);
      else zoom(view, event.deltaY > 0 ? 1.25 : 0.8, at(event));
    },
    { passive: false },
  );
  svg.addEventListener('keydown', (event) => {
    const moves = {
      '+': () => zoom(view, 0.5),
      '=': () => zoom(view, 0.5),
      '-': () => zoom(view, 2),
      0: () => setWindow(view, wholeRun(view.course)),
      ArrowLeft: () => pan(view, -0.2),
      ArrowRight: () => pan(view, 0.2),
      '.': () => step(view, 1),
      ',': () => step(view, -1),
      ArrowDown: () => step(view, 1),
      ArrowUp: () => step(view, -1),
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]();
  });
  listenToDrags(view);
}

function listenToDrags(view) {
  const { svg } = view;
  let held = null;
  svg.addEventListener('pointerdown', (event) => {
    held = { x: event.clientX, from: view.from, to: view.to, moved: false, item: event.target.closest('[data-item]') };
    svg.setPointerCapture(event.pointerId);
    svg.focus({ preventScroll: true });
  });
  svg.addEventListener('pointermove', (event) => {
    if (!held) return;
    const moved = event.clientX - held.x;
    if (Math.abs(moved) < 4 && !held.moved) return;
    held.moved = true;
    const by = (moved / view.width) * (held.to - held.from);
    setWindow(view, { from: held.from - by, to: held.to - by });
  });
  const end = (event) => {
    if (held && !held.moved && event.type === 'pointerup' && held.item)
      choose(view, view.course.items[Number(held.item.dataset.item)]);
    held = null;
  };
  svg.addEventListener('pointerup', end);
  svg.addEventListener('pointercancel', end);
}

function step(view, by) {
  const ordered = [...view.course.items].sort((a, b) => a.t0 - b.t0 || a.number - b.number);
  const at = ordered.indexOf(view.chosen);
  const next = at < 0 ? (by > 0 ? 0 : ordered.length - 1) : Math.min(Math.max(at + by, 0), ordered.length - 1);
  choose(view, ordered[next]);
}

function choose(view, item) {
  view.chosen = item;
  if (item.t1 < view.from || item.t0 > view.to) {
    const half = (view.to - view.from) / 2;
    setWindow(view, { from: item.t0 - half, to: item.t0 + half });
  }
  draw(view);
  const when = item.point ? offset(item.t1) : `${offset(item.t0)} – ${offset(item.t1)} (${duration((item.t1 - item.t0) / 1000)})`;
  const tries = item.attempt > 1 ? ` · ${t('attempt', { attempt: item.attempt })}` : '';
  replace(
    view.told,
    h(
      'p',
      {},
      h('span', { class: 'pill' }, word('lane', item.lane)),
      ' ',
      h('b', {}, itemName(item)),
      ' ',
      h('span', { class: 'muted' }, `${when}${tries}`),
      item.task ? h('span', { class: 'muted' }, ` · ${item.stage}`) : null,
    ),
    item.text ? h('div', { class: 'said' }, block(item.text)) : null,
    item.because.length
      ? h(
          'p',
          {},
          t('because'),
          ' ',
          item.because.map((cause) =>
            h(
              'button',
              { type: 'button', class: 'plain', on: { click: () => choose(view, cause) } },
              itemName(cause),
              ' ',
              offset(cause.t0),
            ),
          ),
        )
      : null,
  );
}

function showSeq(view, seq) {
  const item = view.course.bySeq.get(seq);
  const event = view.course.events.find((one) => one.q === seq);
  if (item) bring(view, item);
  else if (event) view.show(event.t);
}

function showTime(view, at) {
  const closest = [...view.course.items].sort((a, b) => distance(a, at) - distance(b, at))[0];
  if (closest) bring(view, closest);
}

function distance(item, at) {
  return Math.min(Math.abs(item.t0 - at), Math.abs(item.t1 - at));
}

function bring(view, item) {
  choose(view, item);
  byId('timeline').scrollIntoView({ block: 'start' });
  view.svg.focus({ preventScroll: true });
}
