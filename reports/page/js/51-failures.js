// What did not pass, and why: cells that ended alike for the same reason, but for numbers in it, are told once, the most frequent first.

const REASONS_SHOWN = 5;
const CELLS_SHOWN = 4;

function failuresSection() {
  const groups = failureGroups();
  if (!groups.length) return null;
  const list = (some) => h('ul', { class: 'failures' }, some.map(failureItem));
  const more = groups.slice(REASONS_SHOWN);
  return section(
    'failures',
    t('failures'),
    list(groups.slice(0, REASONS_SHOWN)),
    more.length ? folded(counted('failures.more', more.length), () => list(more)) : null,
  );
}

function failureGroups() {
  const found = new Map();
  for (const run of RUNS) {
    if (['passed', 'skipped'].includes(run.outcome)) continue;
    const alike = (run.why || '').replace(/\d+/g, '0'); // ports, times, ids: they differ in every run
    const key = JSON.stringify([run.outcome, run.code, alike]);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(run);
  }
  return [...found.values()].sort((a, b) => b.length - a.length || WEIGHT[a[0].outcome] - WEIGHT[b[0].outcome]);
}

function failureItem(runs) {
  const [{ outcome, code, why }] = runs;
  const links = (some) =>
    h(
      'ul',
      { class: 'cells' },
      some.map((run) => h('li', {}, cellLink(run, `${run.group.scenario} ${cellName(run)}`))),
    );
  const more = runs.slice(CELLS_SHOWN);
  return h(
    'li',
    {},
    h(
      'p',
      {},
      badge(outcome),
      ' ',
      h('b', {}, counted('cells', runs.length)),
      ' ',
      code ? h('span', { class: 'muted' }, code) : null,
    ),
    h('p', { class: 'because' }, why || t('failures.unsaid')),
    links(runs.slice(0, CELLS_SHOWN)),
    more.length ? folded(counted('more', more.length), () => links(more)) : null,
  );
}
