// Every run as a row, a screenful at a time.

const FIRST_ROWS = 60;
const MORE_ROWS = 200;
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
  parts.runs = section(
    'runs',
    t('runs.title'),
    h(
      'table',
      { class: 'runs' },
      h(
        'thead',
        {},
        h('tr', {}, Object.keys(ORDERS).map(sortHeading), h('th', { scope: 'col' }, t('why'))),
      ),
      parts.rows,
    ),
    parts.end,
  );
  drawRuns();
  return parts.runs;
}

// A column's name sorts by it, and once more the other way round.
function sortHeading(name) {
  const text = t(AXES.includes(name) ? `axis.${name}` : name);
  const button = h('button', { type: 'button', 'data-sort': name, title: t('sort'), on: { click: () => sortBy(name) } }, text);
  return h('th', { scope: 'col', class: ['repetition', 'time'].includes(name) ? 'number' : null }, button);
}

function sortBy(name) {
  const now = state.sort || 'outcome';
  const next = now === name ? `-${name}` : name;
  adjust({ sort: next === 'outcome' ? '' : next });
  drawRuns();
}

function markSorted() {
  const name = sortedBy();
  const upwards = state.sort.startsWith('-') === (name === 'time');
  for (const button of parts.runs.querySelectorAll('[data-sort]')) {
    const sorted = button.dataset.sort === name;
    if (sorted) button.parentNode.setAttribute('aria-sort', upwards ? 'ascending' : 'descending');
    else button.parentNode.removeAttribute('aria-sort');
  }
}

function drawRuns() {
  markSorted();
  parts.endWatcher.disconnect();
  listed = shownRuns();
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
