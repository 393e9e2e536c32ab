// What the page says, in the language that was chosen, and figures as people read them.

const TEXTS = JSON.parse(byId('texts').textContent);
const LANGUAGES = Object.keys(TEXTS);
let language = 'en';

function usualLanguage() {
  for (const wanted of navigator.languages && navigator.languages.length ? navigator.languages : [navigator.language || 'en']) {
    const found = LANGUAGES.find((name) => wanted.toLowerCase().startsWith(name));
    if (found) return found;
  }
  return 'en';
}

function speak(name) {
  language = LANGUAGES.includes(name) ? name : usualLanguage();
  document.documentElement.lang = language === 'zh' ? 'zh-Hans' : language;
}

// Fills `{name}` in a text; values are put in as they are, and shown as text nodes.
function t(key, values) {
  const text = TEXTS[language][key];
  if (text === undefined) throw new Error(`no text ${key}`);
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole)) : text;
}

function counted(key, count, values) {
  return t(`${key}.${count === 1 ? 'one' : 'other'}`, { count: count.toLocaleString('en'), ...values });
}

// A name that the data uses, where the page has a word for it.
function word(kind, name) {
  return TEXTS[language][`${kind}.${name}`] ?? name;
}

// A text of several lines as one, cut in its middle where it is too long for a table.
function oneLine(text, most = 160) {
  const line = text.replace(/\s*\n\s*/g, ' ⏎ ');
  if (line.length <= most) return line;
  const tail = line.slice(-most / 2);
  return `${line.slice(0, most / 2)} … ${tail.slice(tail.indexOf(' ⏎ ') < 0 ? 0 : tail.indexOf(' ⏎ ') + 3)}`;
}

function duration(ms) {
  if (ms === null || ms === undefined) return t('none');
  if (ms < 0.9995) return `${ms.toFixed(2)} ms`;
  if (ms < 99.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 59995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

// What is not all or nothing never reads as that.
function share(rate) {
  if (rate === null || rate === undefined) return t('none');
  const text = `${(rate * 100).toFixed(1)}%`;
  if (text === '100.0%') return rate >= 1 ? '100%' : '99.9%';
  if (text === '0.0%') return rate <= 0 ? '0%' : '0.1%';
  return text;
}

function wholeShare(rate) {
  if (rate === null || rate === undefined) return t('none');
  const whole = Math.round(rate * 100);
  return `${rate < 1 && whole === 100 ? 99 : rate > 0 && whole === 0 ? 1 : whole}%`;
}

function figure(value) {
  if (value === null || value === undefined) return t('none');
  return Number.isInteger(value) ? String(value) : String(Math.round(value * 1000) / 1000);
}

function moment(text) {
  const parts = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})/.exec(text || '');
  return parts ? `${parts[1]} ${parts[2]} UTC` : String(text || '');
}

// Microseconds since a run's first event.
function offset(us) {
  return `${us < 0 ? '−' : '+'}${duration(Math.abs(us) / 1000)}`;
}
