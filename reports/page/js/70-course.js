// A run's course, put together from what its observers saw: things that lasted or happened, each with what caused it.

const LANES = ['faults', 'plan', 'kernel', 'sink', 'verdict'];
const LOOKS = {
  '': 'passed',
  ok: 'passed',
  passed: 'passed',
  success: 'passed',
  applied: 'passed',
  failed: 'failed',
  error: 'failed',
  conflict: 'failed',
  refused: 'failed',
  fenced: 'inconclusive',
  repeated: 'inconclusive',
  skipped: 'skipped',
  cancelled: 'skipped',
  unknown: 'inconclusive',
  running: 'running',
  pending: 'waiting',
};
const STATES = {
  passed: 'success',
  failed: 'failed',
  skipped: 'skipped',
  inconclusive: 'unknown',
  running: 'running',
  waiting: 'pending',
  idle: 'not_run',
};
const STATE_SIGNS = { passed: '✓', failed: '✕', skipped: '–', inconclusive: '?', running: '…', waiting: '…', idle: '·' };

function lookOf(status) {
  return LOOKS[status] || 'inconclusive';
}

function courseOf(detail, plan) {
  const texts = detail.texts || [''];
  const course = {
    items: [],
    stages: new Map(),
    tasks: new Map(),
    bySeq: new Map(),
    after: afterOf(plan),
    events: laneOf(detail.events, ['q', 'k', 'g', 'a', 's', 'x', 'c', 'n'], texts),
    witness: (detail.history?.violations || []).flatMap((violation) =>
      violation.witness.map(([at]) => ({ t: at, check: violation.check })),
    ),
  };
  const kernel = laneOf(detail.kernel, ['f', 'w', 'n', 's'], texts);
  readStages(course);
  readKernel(course, kernel);
  readSightings(course);
  readFaults(course);
  readSink(course, laneOf(detail.sink, ['f', 'w', 's', 'x'], texts));
  readVerdicts(course);
  course.end = Math.max(1, detail.end || 0, ...course.items.map((item) => item.t1));
  course.start = Math.min(0, ...course.items.map((item) => item.t0));
  for (const item of course.items) close(item, course.end);
  course.items.forEach((item, number) => {
    item.number = number;
  });
  course.taskState = (stage, task) => stateOf(course.tasks.get(`${stage}:${task}`));
  return course;
}

// What each task of the plan comes after: tasks it waits for, and those that give it a value.
function afterOf(plan) {
  const found = new Map();
  const stageOf = new Map();
  for (const stage of plan ? plan.stages : []) {
    for (const task of stage.tasks) stageOf.set(task.id, stage.id);
    for (const task of stage.tasks)
      found.set(
        `${stage.id}:${task.id}`,
        (task.after || []).map((id) => `${stage.id}:${id}`),
      );
    for (const [source, , target] of stage.bindings || [])
      found.get(`${stage.id}:${target}`)?.push(`${stageOf.get(source)}:${source}`);
  }
  return found;
}

function begin(course, lane, label, t0, more) {
  const item = { lane, label, t0, t1: t0, look: 'neutral', parts: [], because: [], seqs: [], open: false, text: '', ...more };
  course.items.push(item);
  for (const seq of item.seqs) course.bySeq.set(seq, item);
  return item;
}

function close(item, end) {
  if (item.open) item.t1 = Math.max(end, item.t0);
  for (const part of item.parts) if (part.t1 === undefined) part.t1 = item.t1;
  item.because = [...new Set(item.because)].filter((cause) => cause && cause !== item);
}

function readStages(course) {
  let last = null; // what the next step of the plan follows
  for (const event of course.events) {
    const stage = course.stages.get(event.g);
    const seqs = [event.q];
    if (
      event.k === 'run_started' ||
      event.k === 'run_resumed' ||
      event.k === 'plan_obtained' ||
      event.k === 'plan_rejected' ||
      event.k === 'recovery_decided'
    ) {
      const because = event.k === 'recovery_decided' && stage ? [stage] : [last];
      last = begin(course, 'plan', event.k, event.t, {
        seqs,
        text: event.x,
        because,
        look: event.k === 'plan_rejected' || event.s ? 'failed' : 'neutral',
        point: true,
      });
    } else if (event.k === 'stage_started') {
      if (stage && stage.open) {
        stage.open = false;
        stage.t1 = event.t;
      }
      const item = begin(course, 'plan', event.n > 1 ? `${event.g} ×${event.n}` : event.g, event.t, {
        seqs,
        stage: event.g,
        attempt: event.n || 1,
        look: 'running',
        open: true,
        because: [last],
      });
      course.stages.set(event.g, item);
    } else if (
      stage &&
      ['stage_submitted', 'submit_refused', 'binding_failed', 'binding_applied', 'stage_finished', 'artifacts_missing'].includes(
        event.k,
      )
    ) {
      course.bySeq.set(event.q, stage);
      if (event.x && event.k !== 'binding_applied' && event.k !== 'stage_submitted')
        stage.text = [stage.text, event.x].filter(Boolean).join(' · ');
      if (event.k !== 'stage_submitted' && event.k !== 'binding_applied') {
        Object.assign(stage, { t1: event.t, open: false, look: event.k === 'stage_finished' ? lookOf(event.s) : 'failed' });
        last = stage;
      }
    }
  }
}

function readKernel(course, rows) {
  for (const row of rows) {
    if (!row.w) {
      if (row.f === 'boot' || row.f === 'recover' || row.f === 'stop')
        begin(course, 'kernel', `kernel ${row.f}`, row.t, { point: true });
      continue;
    }
    const item = taskItem(course, row.w, row.t);
    item.t1 = Math.max(item.t1, row.t);
    const part = item.parts.at(-1);
    if (row.f === 'start' || row.f === 'spawn') {
      if (part.look === 'running' && part.attempt === row.n) continue; // noted first, begun then
      part.t1 = row.t;
      item.parts.push({ t0: row.t, look: 'running', attempt: row.n });
      item.attempt = Math.max(item.attempt, row.n);
      Object.assign(item, { look: 'running', open: true });
    } else if (row.f === 'end') {
      Object.assign(part, { t1: row.t, look: lookOf(row.s) });
      Object.assign(item, { look: lookOf(row.s), open: false });
    } else if (row.f === 'recover' && part.look === 'running') {
      Object.assign(part, { t1: row.t, look: 'inconclusive' });
      item.parts.push({ t0: row.t, look: 'waiting' });
    } else if (['persist', 'skip', 'cancel'].includes(row.f)) {
      if (part.t1 === undefined) Object.assign(part, { t1: row.t, look: part.look === 'waiting' ? 'waiting' : lookOf(row.s) });
      Object.assign(item, { look: row.f === 'persist' ? lookOf(row.s) : 'skipped', open: false });
    }
  }
}

// A task of one submission: its global id says the stage, the task and which attempt of the stage it belongs to.
function taskItem(course, name, at) {
  const already = course.tasks.get(name);
  if (already) return already;
  const [stage, task, attempt] = name.split(':').map((part) => part.replaceAll('%3A', ':'));
  const parents = (course.after.get(`${stage}:${task}`) || []).map((parent) => course.tasks.get(parent));
  const item = begin(course, 'kernel', task || name, at, {
    stage,
    task: task || name,
    submission: attempt,
    attempt: 1,
    look: 'waiting',
    open: true,
    parts: [{ t0: at, look: 'waiting' }],
    because: parents.some((parent) => parent?.stage === stage) ? parents : [course.stages.get(stage), ...parents],
  });
  course.tasks.set(name, item);
  course.tasks.set(`${stage}:${task}`, item); // the latest submission is what the plan's picture shows
  return item;
}

// What the run saw of its tasks: all there is where a kernel keeps no journal.
function readSightings(course) {
  for (const event of course.events) {
    if (event.k !== 'task_observed') continue;
    const key = `${event.g}:${event.a}`;
    let item = course.tasks.get(key);
    if (!item) {
      const stage = course.stages.get(event.g);
      item = begin(course, 'kernel', event.a, stage ? stage.t0 : event.t, {
        stage: event.g,
        task: event.a,
        attempt: event.n || 1,
        because: [stage],
        parts: [{ t0: stage ? stage.t0 : event.t, look: 'running' }],
      });
      course.tasks.set(key, item);
      item.seen = true;
    }
    if (item.seen) {
      item.t1 = Math.max(item.t1, event.t);
      item.look = lookOf(event.s);
      Object.assign(item.parts[0], { t1: item.t1, look: item.look });
    }
    course.bySeq.set(event.q, item);
    item.seqs.push(event.q);
    if (event.x) item.text = event.x;
    if (event.n) item.attempt = Math.max(item.attempt, event.n);
  }
}
