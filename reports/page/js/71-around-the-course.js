// What struck a run from outside, what it did to the world, and what was made of it at the end.

function readFaults(course) {
  const open = new Map();
  for (const event of course.events) {
    const name = event.x.split(/[;:,]/)[0];
    const seqs = [event.q];
    if (event.k === 'fault_injected') {
      open.set(
        name,
        begin(course, 'faults', name, event.t, {
          seqs,
          text: event.x,
          look: 'fault',
          open: true,
          because: [course.bySeq.get(event.c)],
        }),
      );
    } else if (event.k === 'fault_lifted' && open.has(name)) {
      Object.assign(open.get(name), { t1: event.t, open: false, text: event.x });
      course.bySeq.set(event.q, open.get(name));
      open.delete(name);
    } else if (event.k === 'service_lost') {
      open.set(
        'service',
        begin(course, 'faults', 'service_lost', event.t, {
          seqs,
          text: event.x,
          look: 'failed',
          open: true,
          because: [...open.values()].filter((item) => item.look === 'fault'),
        }),
      );
    } else if (event.k === 'service_restarted' && open.has('service')) {
      Object.assign(open.get('service'), { t1: event.t, open: false, text: `${open.get('service').text} · ${event.x}` });
      course.bySeq.set(event.q, open.get('service'));
      open.delete('service');
    } else if (
      ['fault_lifted', 'fault_spared', 'service_restarted', 'stop_ordered', 'run_stopped', 'tasks_abandoned'].includes(event.k)
    ) {
      begin(course, 'faults', event.k, event.t, { seqs, text: event.x, look: event.s ? 'failed' : 'neutral', point: true });
    }
  }
}

function readSink(course, rows) {
  const arrived = new Map();
  for (const row of rows) {
    if (row.f === 'intent') {
      arrived.set(row.x, row.t);
      continue;
    }
    const task = course.tasks.get(row.w);
    begin(course, 'sink', row.x || row.f, arrived.get(row.x) ?? row.t, {
      t1: row.t,
      look: lookOf(row.s),
      text: row.s,
      because: [task],
      point: true,
    });
  }
}

function readVerdicts(course) {
  const lastStage = [...course.stages.values()].at(-1);
  for (const event of course.events) {
    if (!['failure_attributed', 'verdict_reached', 'history_checked', 'run_finished'].includes(event.k)) continue;
    const because = event.k === 'run_finished' ? course.items.filter((item) => item.lane === 'verdict').slice(-1) : [lastStage];
    begin(course, 'verdict', event.k, event.t, {
      seqs: [event.q],
      text: event.x,
      look: event.s ? lookOf(event.s) : 'passed',
      point: true,
      because,
    });
  }
}

function stateOf(item) {
  const look = item ? item.look : 'idle';
  return {
    look,
    name: STATES[look] || 'unknown',
    sign: STATE_SIGNS[look] || '?',
    attempt: item ? item.attempt : 0,
    error: item ? item.text : '',
  };
}
