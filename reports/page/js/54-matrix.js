// The heat map: a panel for each chaos profile and mode, in it scenarios by frameworks; a square is one cell's repetitions.

const PANELS_AT_ONCE = 6;
const ROW_HEIGHT = 62;
let panels = [];
let squares = new Map(); // group number -> its place: panel, row, column
let current = -1; // the group that Tab leads to

function matrixSection() {
  parts.matrix = h('div');
  parts.watcher = new IntersectionObserver(
    (seen) => {
      for (const one of seen) if (one.isIntersecting) fill(panels[Number(one.target.dataset.panel)]);
    },
    { rootMargin: '800px' },
  );
  const found = section('matrix', t('matrix'), legend(), parts.matrix);
  drawMatrix();
  return found;
}

function legend() {
  return h(
    'p',
    { class: 'legend' },
    OUTCOMES.map((name) =>
      h('span', {}, h('span', { class: `dot ${name}`, 'aria-hidden': 'true' }, SIGNS[name]), word('outcome', name)),
    ),
    h('span', { class: 'muted' }, t('legend')),
  );
}

function drawMatrix() {
  parts.watcher.disconnect();
  const wanted = new Set(shownRuns().map((run) => run.group));
  panels = panelsOf([...wanted]);
  squares = new Map();
  panels.forEach((panel, number) => {
    panel.number = number;
    panel.rows.forEach((row, y) =>
      row.groups.forEach((group, x) => {
        if (group) squares.set(group.number, { panel, y, x });
      }),
    );
  });
  const unfolded = Boolean(parts.matrix.querySelector('details.idle[open]'));
  const at = squares.get(current)?.panel;
  if (!at || (!at.ran && panels[0].ran && !unfolded)) current = squares.size ? squares.keys().next().value : -1; // one that the Tab key reaches
  replace(parts.matrix, panels.length ? panelNodes(unfolded) : h('p', { class: 'muted' }, t('nothing_matches')));
  const alone = Math.max(...panels.map((panel) => panel.columns.length)) < 2; // one framework: more panels fit in a row
  parts.matrix.classList.toggle('narrow', alone);
  panels.slice(0, PANELS_AT_ONCE).forEach(fill);
  panels.slice(PANELS_AT_ONCE).forEach((panel) => parts.watcher.observe(panel.node));
}

// Panels in which nothing ran come last and folded, unless there are no others or they were unfolded before.
function panelNodes(unfolded) {
  const nodes = panels.map(skeleton);
  const idle = nodes.filter((_, number) => !panels[number].ran);
  if (!idle.length || idle.length === nodes.length) return h('div', { class: 'panels' }, nodes);
  return [
    h('div', { class: 'panels' }, nodes.slice(0, -idle.length)),
    h(
      'details',
      { class: 'idle', open: unfolded },
      h('summary', {}, counted('idle', idle.length)),
      h('div', { class: 'panels' }, nodes.slice(-idle.length)),
    ),
  ];
}

function panelsOf(groups) {
  const found = new Map();
  for (const group of groups) {
    const key = `${group.c} ${group.m}`;
    if (!found.has(key)) found.set(key, { chaos: group.chaos, mode: group.mode, groups: [], order: group.c * 10 + group.m });
    found.get(key).groups.push(group);
  }
  return [...found.values()]
    .map((panel) => ({ ...panel, ran: panel.groups.some(ran) }))
    .sort((a, b) => b.ran - a.ran || a.order - b.order)
    .map((panel) => {
      const columns = NAMES.framework.filter((name) => panel.groups.some((group) => group.framework === name));
      const scenarios = NAMES.scenario.filter((name) => panel.groups.some((group) => group.scenario === name));
      const rows = scenarios.map((scenario) => ({
        scenario,
        groups: columns.map((framework) =>
          panel.groups.find((group) => group.scenario === scenario && group.framework === framework),
        ),
      }));
      return { ...panel, columns, rows, filled: false };
    });
}

function skeleton(panel) {
  const passed = panel.groups.reduce((sum, group) => sum + group.passed, 0);
  const tried = panel.groups.reduce((sum, group) => sum + ran(group), 0);
  panel.body = placed(h('div', { class: 'grid-place' }), { 'min-height': `${panel.rows.length * ROW_HEIGHT + 30}px` });
  panel.node = h(
    'section',
    { class: 'panel', 'data-panel': panel.number, 'aria-label': panelName(panel) },
    h(
      'h3',
      {},
      h('span', { class: 'chaos' }, panel.chaos),
      NAMES.mode.length > 1 ? h('span', { class: 'pill' }, panel.mode) : null,
      h('span', { class: 'muted' }, tried ? `${passed}/${tried}` : t('outcome.skipped')),
    ),
    panel.body,
  );
  return panel.node;
}

function panelName(panel) {
  return `${t('axis.chaos')} ${panel.chaos}, ${t('axis.mode')} ${panel.mode}`;
}

function fill(panel) {
  if (panel.filled) return;
  panel.filled = true;
  parts.watcher.unobserve(panel.node);
  const head = h(
    'tr',
    { role: 'row' },
    h('td', { role: 'presentation' }),
    panel.columns.map((name) => h('th', { scope: 'col', role: 'columnheader' }, name)),
  );
  const rows = panel.rows.map((row) =>
    h(
      'tr',
      { role: 'row' },
      h('th', { scope: 'row', role: 'rowheader' }, row.scenario),
      row.groups.map((group) => h('td', { role: 'gridcell' }, group ? square(group) : null)),
    ),
  );
  placed(panel.body, { 'min-height': '0' });
  const grid = h(
    'table',
    { class: 'grid', role: 'grid', 'aria-label': panelName(panel) },
    h('thead', { role: 'rowgroup' }, head),
    h('tbody', { role: 'rowgroup' }, rows),
  );
  replace(panel.body, placed(grid, { '--columns': String(panel.columns.length) }));
}

function square(group) {
  const outcome = worst(group);
  const tried = ran(group);
  const mixed = tried && group.passed && group.passed < tried;
  const time = group.wall === null ? null : h('span', { class: 'time' }, duration(group.wall));
  const node = h(
    'a',
    {
      class: `square ${outcome}${mixed ? ' mixed' : ''}`,
      href: fragment({ run: telling(group).id }),
      id: `g${group.number}`,
      tabindex: group.number === current ? '0' : '-1',
      'data-group': group.number,
      'data-run': telling(group).id,
      'aria-label': spoken(group),
      title: spoken(group),
      on: { focus: () => setCurrent(group.number), keydown: moveInMatrix },
    },
    h(
      'span',
      { class: 'top' },
      h('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[outcome]),
      h('b', {}, tried ? `${group.passed}/${tried}` : word('outcome', 'skipped')),
      group.violations ? h('span', { class: 'broken', 'aria-hidden': 'true' }, '⚠') : null,
    ),
    time,
    tried ? whisker(group) : null,
  );
  return mixed ? placed(node, { '--rate': `${group.rate * 100}%` }) : node;
}

// The pass rate on a scale of 0 to 1, with what it may as well be.
function whisker(group) {
  const range =
    group.low === null
      ? null
      : placed(h('span', { class: 'range' }), { left: `${group.low * 100}%`, width: `${(group.high - group.low) * 100}%` });
  return h(
    'span',
    { class: 'scale', 'aria-hidden': 'true' },
    range,
    placed(h('span', { class: 'at' }), { left: `${group.rate * 100}%` }),
  );
}

function spoken(group) {
  const tried = ran(group);
  const name = `${group.scenario}, ${group.framework}, ${group.mode}, ${group.chaos}`;
  if (!tried) return `${name}: ${word('outcome', 'skipped')}`;
  const between = group.low === null ? '' : t('between', { low: wholeShare(group.low), high: wholeShare(group.high) });
  const broken = group.violations ? ` · ${counted('violations', group.violations)}` : '';
  return `${name}: ${t('square', { passed: group.passed, tried, rate: wholeShare(group.rate), time: duration(group.wall) })}${between}${broken}`;
}

function setCurrent(number) {
  if (number === current) return;
  byId(`g${current}`)?.setAttribute('tabindex', '-1');
  current = number;
  byId(`g${current}`)?.setAttribute('tabindex', '0');
}

function moveInMatrix(event) {
  const here = squares.get(current);
  if (!here || event.ctrlKey || event.metaKey || event.altKey) return;
  const { panel, x, y } = here;
  const row = panel.rows[y].groups;
  const moves = {
    ArrowLeft: () => row.slice(0, x).findLast(Boolean),
    ArrowRight: () => row.slice(x + 1).find(Boolean),
    ArrowUp: () =>
      nearest(panel.rows.slice(0, y).reverse(), x) || nearest([...(panels[panel.number - 1]?.rows || [])].reverse(), x),
    ArrowDown: () => nearest(panel.rows.slice(y + 1), x) || nearest(panels[panel.number + 1]?.rows || [], x),
    Home: () => row.find(Boolean),
    End: () => row.findLast(Boolean),
    PageUp: () => nearest(panels[panel.number - 1]?.rows || [], x),
    PageDown: () => nearest(panels[panel.number + 1]?.rows || [], x),
  };
  const next = moves[event.key]?.();
  if (!(event.key in moves)) return;
  event.preventDefault();
  if (next) focusSquare(next.number);
}

function nearest(rows, x) {
  for (const row of rows) {
    const group = row.groups[Math.min(x, row.groups.length - 1)] || row.groups.find(Boolean);
    if (group) return group;
  }
  return null;
}

function focusSquare(number) {
  const place = squares.get(number);
  if (!place) return;
  fill(place.panel);
  const folded = place.panel.node.closest('details');
  if (folded) folded.open = true;
  setCurrent(number);
  byId(`g${number}`).focus();
}
