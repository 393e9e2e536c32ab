// One run of one cell: why it ended as it did, and everything that shows it.

function cellPage(run) {
  const { scenario, framework, mode, chaos } = run.group;
  const body = h('div', { class: 'cell-body', 'aria-busy': 'true' }, h('p', { class: 'muted' }, t('opening')));
  const page = h(
    'article',
    { class: 'cell', 'aria-labelledby': 'cell-title' },
    h(
      'nav',
      { class: 'crumbs', 'aria-label': t('way') },
      h('a', { href: fragment({ run: '' }), id: 'back' }, '← ', t('overview')),
      neighbours(run),
    ),
    h(
      'header',
      { class: 'cell-head' },
      h('p', { class: 'eyebrow' }, badge(run.outcome), ' ', h('code', {}, run.cell)),
      h('h1', { id: 'cell-title', tabindex: '-1' }, scenario, ' ', h('small', {}, `${framework} · ${mode} · ${chaos}`)),
      repetitions(run),
    ),
    body,
  );
  Promise.all([detailOf(run), planOf(run)])
    .then(
      ([detail, plan]) => {
        replace(body, details(run, detail, plan));
        performance.mark('execgo-cell');
      },
      (error) => {
        replace(body, h('p', { class: 'problem' }, t('unreadable'), ' ', error.message));
      },
    )
    .finally(() => body.removeAttribute('aria-busy'));
  return page;
}

function repetitions(run) {
  if (run.group.runs.length < 2) return null;
  return h(
    'ol',
    { class: 'reps', 'aria-label': t('repetitions') },
    h('li', { class: 'muted', 'aria-hidden': 'true' }, t('repetition')),
    run.group.runs.map((number) => {
      const one = RUNS[number];
      return h(
        'li',
        {},
        h(
          'a',
          {
            class: `rep ${one.outcome}`,
            href: fragment({ run: one.id }),
            'aria-current': one === run ? 'page' : null,
            title: word('outcome', one.outcome),
            'aria-label': `${t('repetition')} ${one.rep}: ${word('outcome', one.outcome)}`,
          },
          h('span', { 'aria-hidden': 'true' }, SIGNS[one.outcome]),
          ' ',
          one.rep,
        ),
      );
    }),
  );
}

function neighbours(run) {
  const shown = shownRuns();
  const at = shown.indexOf(run);
  const [before, after] = [shown[at - 1], at < 0 ? shown[0] : shown[at + 1]];
  return h(
    'span',
    { class: 'neighbours' },
    before ? h('a', { href: fragment({ run: before.id }), id: 'previous', title: cellName(before) }, '‹ ', t('previous')) : null,
    at < 0 ? null : h('span', { class: 'muted' }, `${at + 1}/${shown.length}`),
    after ? h('a', { href: fragment({ run: after.id }), id: 'next', title: cellName(after) }, t('next'), ' ›') : null,
  );
}

function details(run, detail, plan) {
  const course = courseOf(detail, plan);
  const view = timelineView(course, detail);
  const wide = [
    whySection(run, detail, view),
    baselineSection(run, detail),
    view.node && section('timeline', t('timeline'), view.node),
    plan && planSection(plan, course),
    historySection(detail, view),
  ];
  const left = [faultsSection(detail), againSection(run, detail), artifactsSection(run, detail)];
  return [
    factsOf(run, detail),
    notes(detail),
    ...wide,
    h('div', { class: 'columns' }, h('div', {}, left), h('div', {}, metricsSection(detail))),
    logsSection(detail),
    eventsSection(course, view),
  ];
}

function factsOf(run, detail) {
  const figures = detail.metrics || {};
  const shown = [
    ['wall_time_ms', duration],
    ['critical_path_ms', duration],
    ['overhead', (value) => `${value.toFixed(1)}×`],
    ['recovery_time_ms', duration],
    ['retry_count', figure],
    ['restart_count', figure],
  ];
  return h(
    'dl',
    { class: 'cards' },
    shown
      .filter(([name]) => figures[name] !== undefined)
      .map(([name, text]) => h('div', {}, h('dt', {}, word('metric', name)), h('dd', {}, text(figures[name])))),
    detail.plan_source
      ? h('div', { id: 'plan-source' }, h('dt', {}, t('plan')), h('dd', {}, word('plan_source', detail.plan_source)))
      : null,
    run.outcome === 'skipped' ? null : sandboxCard(detail.sandbox),
  );
}

// Where commands ran. A sandbox that could not be had is a note, too: the reason is long.
function sandboxCard(sandbox) {
  const had = sandbox && sandbox.effective === sandbox.requested;
  const why = !sandbox ? t('sandbox.unasked') : had ? null : t('sandbox.missing', { mode: sandbox.requested });
  return h(
    'div',
    { id: 'sandbox' },
    h('dt', {}, t('sandbox')),
    h('dd', {}, sandbox?.effective || t('sandbox.none')),
    why ? h('dd', { class: 'muted' }, why) : null,
  );
}

function notes(detail) {
  const cut = Object.entries(detail.cut || {}).map(([lane, count]) => t('cut', { count, lane: word('lane', lane) }));
  const said = [...(detail.notes || []).map((note) => `${t('unreadable')} ${note}`), ...cut];
  if (detail.resumed) said.push(t('resumed', { count: detail.resumed }));
  const sandbox = detail.sandbox;
  if (sandbox && sandbox.effective !== sandbox.requested)
    said.push(t('sandbox.reason', { mode: sandbox.requested, reason: sandbox.reason || t('none') }));
  return said.length
    ? h(
        'ul',
        { class: 'notes' },
        said.map((note) => h('li', {}, note)),
      )
    : null;
}

function whySection(run, detail, view) {
  const reasons = detail.reasons || [];
  const found = detail.attribution;
  if (!reasons.length && !found) {
    return run.outcome === 'passed'
      ? section('verdict', t('verdict'), h('p', {}, t('verdict.passed')), verdictFigures(detail))
      : null;
  }
  return section(
    'verdict',
    t('why'),
    h(
      'ul',
      { class: 'reasons' },
      reasons.map((reason) => h('li', {}, block(reason))),
      detail.more_reasons ? h('li', { class: 'muted' }, counted('more', detail.more_reasons)) : null,
    ),
    found
      ? h(
          'div',
          { class: 'attribution' },
          h('h3', {}, t('attribution')),
          h(
            'p',
            {},
            h('span', { class: 'pill' }, word('layer', found.layer)),
            ' ',
            h('code', {}, found.code),
            ' ',
            found.retryable ? h('span', { class: 'muted' }, t('retryable')) : null,
          ),
          found.said && !reasons.includes(found.said) ? h('div', { class: 'said' }, block(found.said)) : null,
          found.evidence.length
            ? h(
                'p',
                { class: 'evidence' },
                t('evidence'),
                ' ',
                found.evidence.map((seq) => view.eventButton(seq)),
              )
            : null,
        )
      : null,
    verdictFigures(detail),
  );
}

function verdictFigures(detail) {
  return detail.details
    ? h('details', {}, h('summary', {}, t('verdict.figures')), h('pre', { class: 'wrap' }, detail.details))
    : null;
}

function baselineSection(run, detail) {
  const compared = DATA.comparison;
  if (!compared) return null;
  const before = detail.before;
  const added = compared.changes.some(([kind, number]) => kind === 'added' && number === run.number);
  if (!before)
    return section('baseline', t('baseline'), h('p', {}, t(added ? 'baseline.new' : 'baseline.same', { sweep: compared.sweep })));
  const same = (value) => (value === undefined || value === null ? t('none') : t(value ? 'same' : 'differs'));
  const figures = detail.metrics || {};
  const rows = [
    [t('outcome'), badge(before.outcome), badge(run.outcome)],
    [word('metric', 'wall_time_ms'), duration(before.wall), duration(figures.wall_time_ms)],
    [word('metric', 'recovery_time_ms'), duration(before.recovery), duration(figures.recovery_time_ms)],
    [t('violations.title'), before.violations, run.violations],
    [t('plan'), '', same(before.plan)],
    [t('result'), '', same(before.result)],
  ];
  return section(
    'baseline',
    t('baseline'),
    h('p', { class: 'lead' }, t('baseline.lead', { sweep: compared.sweep })),
    table(
      'baseline',
      ['', t('before'), t('after')],
      rows.map(([name, old, now]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, old), h('td', {}, now))),
      t('baseline'),
    ),
    before.reasons?.length
      ? [
          h('h3', {}, t('baseline.why')),
          h(
            'ul',
            { class: 'reasons' },
            before.reasons.map((reason) => h('li', {}, reason)),
          ),
        ]
      : null,
  );
}
