// What a sweep says beyond its cells: against a baseline, in figures, between plans, and why cells were left out.

function comparisonSection() {
  const found = DATA.comparison;
  if (!found) return null;
  const clear = found.tests.filter(moreThanChance).length;
  return section(
    'comparison',
    t('comparison'),
    h('p', { class: 'lead' }, t('comparison.with', { sweep: found.sweep, paired: found.paired, unpaired: found.unpaired })),
    h(
      'p',
      { class: 'chips' },
      h('span', { class: `badge ${found.regressions ? 'failed' : 'skipped'}` }, counted('regressions', found.regressions)),
      h('span', { class: `badge ${found.improvements ? 'passed' : 'skipped'}` }, counted('improvements', found.improvements)),
    ),
    found.changes.length
      ? table('changes', [t('change'), t('cell'), t('before'), t('after')], found.changes.map(changeRow), t('comparison'))
      : null,
    found.tests.length
      ? h(
          'details',
          { open: clear > 0 },
          h('summary', {}, t('tests'), ' ', h('span', { class: 'muted' }, t('tests.clear', { clear, total: found.tests.length }))),
          table(
            'tests',
            [t('test'), t('method'), t('before'), t('after'), 'p', t('p_adjusted'), t('power')],
            found.tests.map(testRow),
            t('tests'),
          ),
        )
      : null,
    found.notes.map((note) => h('p', { class: 'note' }, note)),
  );
}

function changeRow([kind, number, name, before, after]) {
  const run = RUNS[number];
  const shown = (outcome) => (outcome ? badge(outcome) : h('span', { class: 'muted' }, t('none')));
  return h(
    'tr',
    { class: kind },
    h('td', {}, word('change', kind)),
    h('td', {}, run ? cellLink(run, name) : name),
    h('td', {}, shown(before)),
    h('td', {}, shown(after)),
  );
}

function testRow(test) {
  const of = ([count, all]) => `${count}/${all}`;
  const power =
    test.power === undefined ? t('none') : t('power.of', { power: share(test.power), detectable: share(test.detectable) });
  return h(
    'tr',
    {},
    h('td', {}, test.what),
    h('td', {}, word('method', test.method)),
    h('td', {}, of(test.before)),
    h('td', {}, of(test.after)),
    h('td', {}, chance(test.p)),
    h(
      'td',
      {},
      h('b', {}, chance(test.p_adjusted)),
      ' ',
      h('span', { class: 'muted' }, t(moreThanChance(test) ? 'significant' : 'not_significant')),
    ),
    h('td', {}, power),
  );
}

function moreThanChance(test) {
  return test.p_adjusted <= test.alpha;
}

function chance(p) {
  return p < 0.001 ? '< 0.001' : figure(p);
}

function statisticsSection() {
  const found = DATA.statistics;
  if (!found) return null;
  const interval =
    found.pass_interval &&
    t('interval', {
      low: share(found.pass_interval.low),
      high: share(found.pass_interval.high),
      confidence: wholeShare(found.pass_interval.confidence),
    });
  const cards = [
    ['pass_rate', share(found.pass_rate), interval],
    ...['infra_error_rate', 'flake_rate', 'determinism_drift'].map((key) => [key, share(found[key]), t(`stat.${key}.is`)]),
  ];
  return section(
    'statistics',
    t('statistics'),
    h(
      'dl',
      { class: 'cards' },
      cards.map(([key, value, note]) =>
        h('div', {}, h('dt', {}, t(`stat.${key}`)), h('dd', {}, value), note ? h('dd', { class: 'muted' }, note) : null),
      ),
    ),
    h('div', { class: 'side-by-side' }, quantilesTable(found), powersTable(found), boundsTable(found)),
  );
}

function quantilesTable(found) {
  const rows = [
    ['stat.wall_ms', found.wall_ms],
    ['stat.recovery_ms', found.recovery_ms],
  ].filter(([, values]) => values);
  if (!rows.length) return null;
  const columns = ['p50', 'p90', 'p95', 'p99', 'most'];
  return figureTable(
    t('quantiles'),
    ['', ...columns.map((name) => (name === 'most' ? t('most') : name)), t('count')],
    rows.map(([key, values]) => [t(key), ...columns.map((name) => duration(values[name])), values.count]),
  );
}

function powersTable(found) {
  const rows = Object.entries(found.pass_hat_k || {});
  if (!rows.length) return null;
  return figureTable(
    t('pass_hat'),
    ['k', 'pass^k', t('interval.title')],
    rows.map(([k, rate]) => {
      const around = found.pass_hat_interval?.[k];
      return [k, share(rate), around ? `${share(around.low)} – ${share(around.high)}` : t('none')];
    }),
  );
}

function boundsTable(found) {
  if (!found.bounds?.length) return null;
  return figureTable(
    t('bounds'),
    [t('promise'), t('found'), t('upper')],
    found.bounds.map((bound) => [
      word('check', bound.what),
      t('found.in', { found: bound.found, looked: bound.looked }),
      t('below', { upper: share(bound.upper), confidence: wholeShare(bound.confidence) }),
    ]),
  );
}

function figureTable(title, headings, rows) {
  return h(
    'div',
    { class: 'figures' },
    h('h3', {}, title),
    table(
      'figures',
      headings,
      rows.map((row) =>
        h(
          'tr',
          {},
          row.map((value, index) => h(index ? 'td' : 'th', index ? { class: 'number' } : { scope: 'row' }, value)),
        ),
      ),
      title,
    ),
  );
}

function plansSection() {
  if (!DATA.plans.length) return null;
  const rows = DATA.plans.map((plan) =>
    Object.entries(plan.shapes).map(([framework, [stages, tasks, bindings, tools]], index, all) =>
      h(
        'tr',
        { class: index === 0 ? 'first' : null },
        index === 0
          ? h(
              'th',
              { scope: 'rowgroup', rowspan: all.length },
              plan.scenario_id,
              h('br'),
              h('span', { class: 'muted' }, `${plan.mode} · ${t('repetition')} ${ranges(plan.repetitions)}`),
            )
          : null,
        h('td', {}, framework, ' ', h('span', { class: 'muted' }, sourceOf(plan, framework))),
        h('td', { class: 'number' }, stages),
        h('td', { class: 'number' }, tasks),
        h('td', { class: 'number' }, bindings),
        h('td', { class: 'c-why' }, tools),
        h('td', {}, h('code', {}, plan.digests[framework] || '')),
        h('td', {}, badge(plan.outcomes[framework])),
        index === 0 ? h('td', { rowspan: all.length }, differences(plan)) : null,
      ),
    ),
  );
  const headings = [
    'axis.scenario',
    'axis.framework',
    'stages',
    'tasks',
    'bindings',
    'tools',
    'plan.digest',
    'outcome',
    'differ',
  ].map((key) => t(key));
  // where no framework planned, nobody may read it as if they had
  const reference = DATA.plans.every((plan) => Object.keys(plan.shapes).every((name) => plan.sources[name] === 'reference'));
  return section(
    'plans',
    t('plans'),
    h('p', { class: 'lead' }, t(reference ? 'plans.reference' : 'plans.lead')),
    table('plans', headings, rows, t('plans')),
    DATA.more_plans ? h('p', { class: 'muted' }, counted('more', DATA.more_plans)) : null,
  );
}

function sourceOf(plan, framework) {
  return plan.sources[framework] ? word('plan_source', plan.sources[framework]) : '';
}

// `0 1 2 5` reads `0–2, 5`.
function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(', ');
}

function differences(plan) {
  const names = plan.differ_in.map((name) => word('part', name)).join(', ') || t('nothing');
  return [names, ' ', plan.outcomes_differ ? h('span', { class: 'badge failed' }, t('outcomes_differ')) : null];
}

function skippedSection() {
  if (!DATA.skipped.length) return null;
  return section(
    'skipped',
    t('skipped.title'),
    h(
      'ul',
      { class: 'skipped' },
      DATA.skipped.map(([reason, count]) => h('li', {}, h('b', {}, counted('cells', count)), ' ', h('span', {}, reason))),
    ),
  );
}
