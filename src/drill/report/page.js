'use strict';
// Thin lines are hard to hit: the nearest one tells about itself. Without the script the browser shows the titles.
const tip = document.body.appendChild(document.createElement('div'));
tip.id = 'tip';
tip.hidden = true;
for (const svg of document.querySelectorAll('svg.timeline')) {
  const lines = [...svg.querySelectorAll('line[data-outcome]')].map(line => {
    const [x1, x2, y] = ['x1', 'x2', 'y1'].map(name => Number(line.getAttribute(name)));
    return { line, x1, x2, y };
  });
  let near = null;
  const show = (found, event) => {
    if (near !== found) {
      if (near) near.line.classList.remove('near');
      if (found) {
        found.line.classList.add('near');
        tip.textContent = found.line.querySelector('title').textContent;
      }
      near = found;
    }
    tip.hidden = !found;
    if (!found) return;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)) + 'px';
    const below = event.clientY + 16;
    tip.style.top = (below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below) + 'px';
  };
  svg.classList.add('scripted');
  svg.addEventListener('pointermove', event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null;
    let least = 8;
    for (const one of lines) {
      if (one.line.style.display) continue;
      const away = Math.hypot(Math.max(one.x1 - at.x, 0, at.x - one.x2), one.y - at.y);
      if (away <= least) [best, least] = [one, away];
    }
    show(best, event);
  });
  svg.addEventListener('pointerleave', event => show(null, event));
}
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    const shown = button.getAttribute('aria-pressed') === 'false';
    button.setAttribute('aria-pressed', shown);
    const outcome = button.parentElement.dataset.outcome;
    for (const part of button.closest('section').querySelectorAll(`svg.timeline [data-outcome="${outcome}"]`))
      part.style.display = shown ? '' : 'none';
  });
}
