// The sweep as a whole.

const parts = {}; // nodes that are drawn again when a filter changes

function overview() {
  const sweep = DATA.sweep;
  return h(
    'div',
    { class: 'overview' },
    hero(sweep),
    failuresSection(),
    verdicts(),
    comparisonSection(),
    filterBar(),
    matrixSection(),
    statisticsSection(),
    plansSection(),
    skippedSection(),
    runsSection(),
  );
}

function hero(sweep) {
  const totals = sweep.totals;
  const cells = totals.cells ?? RUNS.length;
  const versions = Object.entries(sweep.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(' · ');
  const planned = sweep.planned && sweep.planned > cells ? t('of_planned', { planned: sweep.planned }) : '';
  return h(
    'section',
    { class: 'hero', 'aria-labelledby': 'sweep-title' },
    h('p', { class: 'eyebrow' }, t('sweep'), ' ', h('code', {}, sweep.id)),
    h('h1', { id: 'sweep-title' }, headline(totals, cells), planned && h('small', {}, ` ${planned}`)),
    bar(totals, cells),
    h(
      'div',
      { class: 'chips', role: 'group', 'aria-label': t('filter.outcome') },
      OUTCOMES.filter((name) => totals[name]).map((name) => chip(name, totals[name])),
    ),
    h(
      'p',
      { class: 'facts' },
      fact(t('took'), duration(sweep.wall)),
      fact(t('began'), moment(sweep.began)),
      fact(t('backend'), sweep.backends.join(', ')),
      versions && fact(t('versions'), versions),
    ),
  );
}

function headline(totals, cells) {
  const passed = totals.passed || 0;
  const judged = cells - (totals.skipped || 0);
  if (!judged) return t('headline.nothing');
  if (passed === judged && totals.skipped && judged > 1) return t('headline.ran', { count: judged.toLocaleString('en') });
  return passed === judged
    ? counted('headline.all', judged)
    : t('headline.some', { passed: passed.toLocaleString('en'), judged: judged.toLocaleString('en') });
}

function bar(totals, cells) {
  return h(
    'div',
    { class: 'bar', 'aria-hidden': 'true' },
    OUTCOMES.filter((name) => totals[name]).map((name) =>
      placed(h('span', { class: name }), { 'flex-grow': String(Math.max(totals[name], cells / 200)) }),
    ),
  );
}

function chip(name, count) {
  return h(
    'button',
    {
      type: 'button',
      class: `chip ${name}`,
      'aria-pressed': String(state.outcome.includes(name)),
      'data-outcome': name,
      on: { click: () => toggle('outcome', name) },
    },
    h('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[name]),
    h('b', {}, count.toLocaleString('en')),
    ' ',
    word('outcome', name),
  );
}

function fact(name, value) {
  return h('span', { class: 'fact' }, h('span', { class: 'name' }, name), ' ', value);
}

// Gates and changes are what a pipeline is decided by, so they come before all figures.
function verdicts() {
  const gates = DATA.gates;
  const failed = gates.filter((gate) => !gate.passed).length;
  if (!gates.length) return null;
  return section(
    'gates',
    t('gates'),
    h(
      'p',
      { class: 'lead' },
      failed ? counted('gates.failed', failed, { total: gates.length }) : counted('gates.passed', gates.length),
    ),
    h(
      'ul',
      { class: 'gates' },
      gates.map((gate) =>
        h(
          'li',
          { class: gate.passed ? 'passed' : 'failed' },
          h(
            'span',
            { class: `badge ${gate.passed ? 'passed' : 'failed'}` },
            h('span', { class: 'sign', 'aria-hidden': 'true' }, gate.passed ? '✓' : '✕'),
            t(gate.passed ? 'gate.met' : 'gate.missed'),
          ),
          h('code', {}, gate.condition),
          h('span', { class: 'muted' }, gate.value === null ? t('gate.nothing') : t('gate.value', { value: figure(gate.value) })),
          gate.because.length ? decided(gate) : null,
        ),
      ),
    ),
  );
}

function decided(gate) {
  const lines = [
    ...gate.because.map((line) => h('li', {}, line)),
    gate.more ? h('li', { class: 'muted' }, counted('more', gate.more)) : null,
  ].filter(Boolean);
  const list = h('ul', { class: 'because' }, lines);
  return lines.length <= 3 ? list : h('details', {}, h('summary', {}, t('gate.because')), list);
}

// Draws again what a filter has changed, and nothing else: whoever is typing goes on typing.
function refresh() {
  for (const button of document.querySelectorAll('.chip')) {
    button.setAttribute('aria-pressed', String(state.outcome.includes(button.dataset.outcome)));
  }
  drawFilters();
  drawMatrix();
  drawRuns();
}
