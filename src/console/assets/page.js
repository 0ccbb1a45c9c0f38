// Shows times in the reader's zone. Without this script they stay in UTC.
const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const show = (root) => {
  for (const time of root.querySelectorAll('time[datetime]')) {
    time.title = time.dateTime;
    time.textContent = format.format(new Date(time.dateTime));
  }
};
show(document);
document.addEventListener('htmx:after:swap', () => show(document));

// A part that refreshes itself does so only while the page is visible.
document.addEventListener('htmx:before:request', (event) => {
  if (document.hidden && event.target.hasAttribute('data-live')) event.preventDefault();
});
