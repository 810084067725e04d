// The Analytics tab, live. The server sends what has changed as the page itself has it; this puts it in its place, counts down to the
// reset, sorts without a reload, and says when what is shown is old.

const state = document.getElementById('state');
const table = document.getElementById('usage');
const body = table.tBodies[0];
const none = document.getElementById('none');
let ahead = Date.parse(state.dataset.now) - Date.now(); // of the reader's clock, in milliseconds

// Rows

const make = html => {
  const holder = document.createElement('template');
  holder.innerHTML = html;
  return holder.content.firstElementChild;
};

const rows = () => new Map([...body.rows].map(row => [row.dataset.endpoint, row]));

// takeOver changes the cells that differ, so that whatever is selected or focused elsewhere stays.
const takeOver = (row, next) => {
  [...next.cells].forEach((cell, i) => {
    const old = row.cells[i];
    if (old.outerHTML === cell.outerHTML) return;
    old.innerHTML = cell.innerHTML;
    old.dataset.value = cell.dataset.value;
  });
};

const has = new Map(); // what the parts of the page were told

const update = ({whole, now, rows: sent, parts}) => {
  ahead = Date.parse(now) - Date.now();
  for (const [id, html] of Object.entries(parts)) {
    const part = document.getElementById(id);
    if (!part || has.get(id) === html) continue; // the page may show one endpoint's hours
    const open = part.querySelector('details')?.open;
    part.innerHTML = html;
    has.set(id, html);
    if (open) part.querySelector('details').open = true;
    if (id === 'hours') part.closest('section').hidden = html === '';
  }
  const shown = rows();
  for (const {id, html} of sent) {
    const next = make(html);
    const row = shown.get(id);
    if (row) {
      takeOver(row, next);
    } else {
      next.classList.add('fresh');
      body.append(next);
    }
    shown.delete(id);
  }
  if (whole) shown.forEach(row => row.remove());
  table.hidden = body.rows.length === 0;
  const empty = document.getElementById('no-usage');
  if (table.hidden && !empty) {
    table.after(none.content.cloneNode(true));
    table.nextElementSibling.id = 'no-usage'; // which the template itself does not have: it is not shown
  }
  if (!table.hidden) empty?.remove();
  tick();
};

// Sorting

const number = value => value === 'unlimited' ? Infinity : Number(value);

const sort = wanted => {
  const falling = wanted.startsWith('-');
  const key = falling ? wanted.slice(1) : wanted;
  const heads = [...table.tHead.rows[0].cells];
  const at = heads.findIndex(head => head.firstElementChild.dataset.key === key);
  const textual = key === 'endpoint' || key === 'last';
  const value = row => row.cells[at].dataset.value;
  const id = row => row.dataset.endpoint;
  const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const compare = (a, b) => textual ? order(value(a), value(b)) : order(number(value(a)), number(value(b)));
  body.append(...[...body.rows].sort((a, b) => (falling ? compare(b, a) : compare(a, b)) || order(id(a), id(b))));
  heads.forEach((head, i) => {
    const link = head.firstElementChild;
    if (i === at) {
      head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
      link.search = '?sort=' + (falling ? key : '-' + key);
    } else {
      head.removeAttribute('aria-sort');
      link.search = '?sort=' + link.dataset.first;
    }
  });
  table.dataset.sort = wanted;
};

table.tHead.addEventListener('click', event => {
  const link = event.target.closest('a');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const wanted = new URLSearchParams(link.search).get('sort');
  sort(wanted);
  const here = new URL(location.href);
  here.searchParams.set('sort', wanted);
  history.replaceState(null, '', here);
});

// The countdown

const two = n => String(n).padStart(2, '0');

const tick = () => {
  const time = document.getElementById('countdown');
  const at = new Date(time.dateTime);
  const left = Math.max(0, Math.ceil((at - Date.now() - ahead) / 1000));
  const text = [left / 3600, left / 60 % 60, left % 60].map(n => two(Math.floor(n))).join(':');
  if (time.textContent !== text) time.textContent = text;
  const zone = time.parentElement.querySelector('.zone');
  const here = at.getTimezoneOffset() ? ', ' + at.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'}) + ' your time' : '';
  if (zone.textContent !== here) zone.textContent = here;
  if (stale()) say();
};

// The connection

const patience = 15_000; // milliseconds without a word until the page is old
let heard = Date.now();
let lost = false; // the connection broke
let trouble = false; // the server cannot read what was used
let over = false; // it will not come back

const stale = () => Date.now() - heard > patience;

const say = () => {
  const since = new Date(heard + ahead).toISOString().slice(11, 19) + ' UTC';
  let text = 'Live';
  if (over) text = 'Not live since ' + since + ': your sign-in has ended. Reload the page.';
  else if (trouble) text = '◐ Usage cannot be read at the moment: these numbers are of ' + since;
  else if (lost || stale()) text = '◐ No connection: these numbers are of ' + since;
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle('stale', text !== 'Live');
};

let source;
let again = 2000;

const hear = () => {
  heard = Date.now();
  again = 2000;
  lost = false;
  say();
};

const connect = () => {
  source = new EventSource(state.dataset.live);
  source.addEventListener('usage', event => {
    trouble = false;
    update(JSON.parse(event.data));
    hear();
  });
  source.addEventListener('beat', () => trouble ? say() : hear());
  source.addEventListener('trouble', () => {
    trouble = true;
    say();
  });
  source.addEventListener('end', () => {
    over = true;
    source.close();
    say();
  });
  source.addEventListener('error', () => {
    lost = true;
    say();
    if (over || source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    setTimeout(connect, again);
    again = Math.min(2 * again, 60_000);
  });
};

connect();
setInterval(tick, 1000);
tick();
