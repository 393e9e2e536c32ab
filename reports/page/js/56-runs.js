// Every run as a row, a screenful at a time.

const FIRST_ROWS = 60;
const MORE_ROWS = 200;
const WEIGHT = { failed: 0, error: 1, inconclusive: 2, passed: 3, skipped: 4 }; // what needs a look comes first
let listed = [];
let drawn = 0;

function runsSection() {
  parts.rows = h('tbody', {});
  parts.end = h('p', { class: 'end' });
  parts.endWatcher = new IntersectionObserver(
    (seen) => {
      if (!seen.some((one) => one.isIntersecting) || drawn >= listed.length) return;
      moreRows(MORE_ROWS);
      parts.endWatcher.unobserve(parts.end); // asks anew: who is quick is at the new end before this was noticed
      parts.endWatcher.observe(parts.end);
    },
    { rootMargin: '600px' },
  );
  const headings = ['outcome', 'axis.scenario', 'axis.framework', 'axis.mode', 'axis.chaos', 'repetition', 'time', 'why'];
  const found = section(
    'runs',
    t('runs.title'),
    h(
      'table',
      { class: 'runs' },
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          headings.map((key) => h('th', { scope: 'col', class: ['repetition', 'time'].includes(key) ? 'number' : null }, t(key))),
        ),
      ),
      parts.rows,
    ),
    parts.end,
  );
  drawRuns();
  return found;
}

function drawRuns() {
  parts.endWatcher.disconnect();
  listed = shownRuns().sort((a, b) => WEIGHT[a.outcome] - WEIGHT[b.outcome] || a.number - b.number);
  drawn = 0;
  parts.rows.replaceChildren();
  moreRows(FIRST_ROWS);
  parts.endWatcher.observe(parts.end);
}

function moreRows(count) {
  const next = listed.slice(drawn, drawn + count);
  drawn += next.length;
  add(parts.rows, next.map(runRow));
  const left = listed.length - drawn;
  replace(
    parts.end,
    left ? h('button', { type: 'button', class: 'plain', on: { click: () => moreRows(MORE_ROWS) } }, counted('more', left)) : '',
  );
}

function runRow(run) {
  const { scenario, framework, mode, chaos } = run.group;
  const why = [run.code, run.why].filter(Boolean).join(' · ');
  return h(
    'tr',
    {},
    h('td', { class: 'c-outcome' }, badge(run.outcome)),
    h('td', { class: 'c-scenario' }, cellLink(run, scenario)),
    h('td', {}, framework),
    h('td', {}, mode),
    h('td', {}, chaos),
    h('td', { class: 'number' }, h('span', { class: 'label' }, t('repetition')), ' ', run.rep),
    h('td', { class: 'number' }, run.wall === null ? '' : duration(run.wall)),
    h('td', { class: 'c-why' }, why),
  );
}
