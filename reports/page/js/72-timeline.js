// The run's course on one clock: a lane for each observer, which zooms, pans, and shows what caused what.

const LANE_ROW = 20;
const LANE_GAP = 12;
const LETTER = 6.7; // width of a letter in a label
const AXIS = 26;

function timelineView(course, detail) {
  const view = { course, ...wholeRun(course), chosen: null, node: null };
  view.eventButton = (seq) =>
    h(
      'button',
      { type: 'button', class: 'seq', on: { click: () => showSeq(view, seq) }, 'aria-label': t('event.show', { seq }) },
      `#${seq}`,
    );
  view.show = (at) => showTime(view, at);
  if (!course.items.length) return view;
  view.evidence = new Set((detail.attribution?.evidence || []).map((seq) => course.bySeq.get(seq)).filter(Boolean));
  view.svg = s('svg', {
    class: 'timeline',
    role: 'group',
    'aria-label': t('timeline'),
    tabindex: '0',
    'aria-describedby': 'timeline-hint',
  });
  view.told = h(
    'div',
    { class: 'told', role: 'status', 'aria-live': 'polite' },
    h('p', { class: 'muted hint', id: 'timeline-hint' }, t('timeline.hint')),
  );
  const button = (text, key, act) =>
    h('button', { type: 'button', class: 'plain', 'aria-label': t(key), title: t(key), on: { click: act } }, text);
  view.node = [
    h(
      'div',
      { class: 'tools' },
      button('+', 'zoom.in', () => zoom(view, 0.5)),
      button('−', 'zoom.out', () => zoom(view, 2)),
      button('0', 'zoom.all', () => setWindow(view, wholeRun(course))),
      button('‹', 'step.before', () => step(view, -1)),
      button('›', 'step.after', () => step(view, 1)),
      timelineLegend(),
    ),
    h('div', { class: 'timeline-place' }, view.svg),
    view.told,
  ];
  listen(view);
  const watcher = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== view.width) {
      view.width = width;
      arrange(view);
      draw(view);
    }
  });
  watcher.observe(view.node[1]);
  return view;
}

function timelineLegend() {
  return h(
    'span',
    { class: 'legend' },
    ['waiting', 'running', 'passed', 'failed', 'inconclusive', 'fault'].map((look) =>
      h('span', {}, h('span', { class: `swatch ${look}`, 'aria-hidden': 'true' }), t(`look.${look}`)),
    ),
  );
}

// What was before the run's first event, such as the boot of its kernel, is reached by zooming out: it may be long ago.
function wholeRun(course) {
  return { from: Math.max(course.start, -course.end / 50), to: course.end };
}

// Gives each item a row of its lane such that neither bars nor labels meet; done for the whole run, so that zooming moves
// nothing up or down.
function arrange(view) {
  const whole = { ...view, ...wholeRun(view.course) };
  let y = AXIS;
  view.lanes = [];
  for (const lane of LANES) {
    const items = view.course.items.filter((item) => item.lane === lane).sort((a, b) => a.t0 - b.t0);
    if (!items.length) continue;
    const rows = [];
    for (const item of items) {
      const taken = extent(whole, item);
      let row = rows.findIndex((others) => others.every((other) => other.right <= taken.left || taken.right <= other.left));
      if (row < 0) row = rows.push([]) - 1;
      rows[row].push(taken);
      item.row = row;
    }
    view.lanes.push({ lane, y, height: rows.length * LANE_ROW + LANE_ROW, items });
    y += rows.length * LANE_ROW + LANE_ROW + LANE_GAP;
  }
  view.height = y;
}

// What an item takes up on the screen; its label stands right of it where there is room, else left, else on it.
function extent(view, item) {
  const x0 = xOf(view, item.t0) - (item.point ? 6 : 0);
  const x1 = Math.max(xOf(view, item.t1), x0 + 3) + (item.point ? 6 : 0);
  const label = itemName(item).length * (/[\u2e80-\uffff]/.test(itemName(item)) ? 12.5 : LETTER) + 6;
  if (x1 + label <= view.width) return { left: x0, right: x1 + label, x0, x1, text: { x: Math.max(x1 + 4, 6) } };
  if (x0 >= label)
    return { left: x0 - label, right: x1, x0, x1, text: { x: Math.min(x0 - 4, view.width - 6), 'text-anchor': 'end' } };
  return { left: x0, right: Math.max(x1, x0 + label), x0, x1, text: { x: Math.max(x0, 0) + 6 } };
}

function xOf(view, at) {
  return ((at - view.from) / (view.to - view.from)) * (view.width - 12) + 6;
}

function timeAt(view, x) {
  return view.from + ((x - 6) / (view.width - 12)) * (view.to - view.from);
}

function draw(view) {
  const { svg } = view;
  for (const [name, value] of Object.entries({
    viewBox: `0 0 ${view.width} ${view.height}`,
    width: view.width,
    height: view.height,
  }))
    svg.setAttribute(name, value);
  replace(
    svg,
    s(
      'defs',
      {},
      s(
        'marker',
        { id: 'cause', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto', class: 'arrow' },
        s('path', { d: 'M0 0L8 4L0 8z' }),
      ),
    ),
    ticks(view),
    view.lanes.map((lane) => laneNode(view, lane)),
    witnessMarks(view),
    causes(view),
  );
}

function ticks(view) {
  const span = view.to - view.from;
  const wanted = Math.max(2, Math.floor(view.width / 120));
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(view.from / size) * size; at <= view.to; at += size) {
    const x = xOf(view, at);
    found.push(
      s('line', { class: 'tick', x1: x, x2: x, y1: AXIS - 6, y2: view.height }),
      s('text', { class: 'tick-name', x: Math.min(x + 3, view.width - 60), y: 14 }, at === 0 ? '0' : duration(at / 1000)),
    );
  }
  return found;
}

function laneNode(view, { lane, y, height, items }) {
  return s(
    'g',
    {},
    s('rect', { class: 'lane', x: 0, y, width: view.width, height, rx: 6 }),
    s('text', { class: 'lane-name', x: 8, y: y + 14 }, word('lane', lane)),
    items.filter((item) => item.t1 >= view.from && item.t0 <= view.to).map((item) => itemNode(view, item, y + LANE_ROW)),
  );
}

function itemNode(view, item, top) {
  const y = top + item.row * LANE_ROW;
  item.y = y + 7;
  const { x0, text } = extent(view, item);
  const middle = item.point ? x0 + 6 : x0;
  const classes = ['item', item.look, item === view.chosen && 'chosen', view.evidence.has(item) && 'evident', item.point && 'point']
    .filter(Boolean)
    .join(' ');
  const shape = item.point
    ? [s('path', { d: `M${middle} ${y + 1}l6 6l-6 6l-6 -6z` })]
    : (item.parts.length ? item.parts : [item]).map((part) =>
        s('rect', {
          class: part.look,
          x: xOf(view, part.t0),
          y: y + (part.look === 'waiting' ? 5 : 1),
          width: Math.max(xOf(view, part.t1) - xOf(view, part.t0), 1.5),
          height: part.look === 'waiting' ? 4 : 12,
          rx: 2,
        }),
      );
  return s(
    'g',
    { class: classes, 'data-item': item.number },
    s(
      'title',
      {},
      `${item.label} · ${offset(item.t0)}${item.point ? '' : ` – ${offset(item.t1)}`}${item.text ? ` · ${oneLine(item.text)}` : ''}`,
    ),
    shape,
    s('text', { ...text, y: y + 11 }, itemName(item)),
  );
}

function itemName(item) {
  return word('event', item.label);
}

function witnessMarks(view) {
  return view.course.witness
    .filter((one) => one.t >= view.from && one.t <= view.to)
    .map((one) => {
      const x = xOf(view, one.t);
      return s(
        'g',
        { class: 'proof' },
        s('title', {}, `${word('check', one.check)} · ${offset(one.t)}`),
        s('line', { x1: x, x2: x, y1: AXIS - 6, y2: view.height }),
        s('path', { d: `M${x - 5} ${AXIS - 12}h10l-5 8z` }),
      );
    });
}

// From everything that the chosen item goes back to, an arrow to what it caused.
function causes(view) {
  const found = [];
  const seen = new Set();
  const follow = (item) => {
    if (seen.has(item)) return;
    seen.add(item);
    for (const cause of item.because) {
      if (cause.y !== undefined && item.y !== undefined) {
        const [x1, x2] = [xOf(view, Math.min(cause.point ? cause.t0 : cause.t1, item.t0)), xOf(view, item.t0)];
        const bend = Math.max(Math.abs(x2 - x1) / 2, 18);
        found.push(
          s('path', {
            class: 'cause',
            d: `M${x1} ${cause.y}C${x1 + bend} ${cause.y} ${x2 - bend} ${item.y} ${x2 - 1} ${item.y}`,
            'marker-end': 'url(#cause)',
          }),
        );
      }
      follow(cause);
    }
  };
  if (view.chosen) follow(view.chosen);
  return found;
}
