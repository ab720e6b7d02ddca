"use strict";
// Sorting: a button in each heading, so that it works by keyboard; numbers before words, "-" and "" last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].textContent.trim();
      const number = (text) => parseFloat(text.replace(/,/g, ""));
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const [none, other] = [x === "" || x === "-", y === "" || y === "-"];
        if (none || other) return none - other;
        const [m, n] = [number(x), number(y)];
        const found = isNaN(m) || isNaN(n) ? x.localeCompare(y, "en", { numeric: true }) : m - n;
        return up ? found : -found;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
// One curve against several axes: one at a time, chosen by the arrow keys; without this script all are there.
const learning = document.getElementById("learning");
if (learning) {
  const axes = [...learning.querySelectorAll("input")];
  const curves = [...learning.querySelectorAll("figure")];
  const show = () => curves.forEach((curve, index) => { curve.hidden = !axes[index].checked; });
  axes.forEach((axis) => axis.addEventListener("change", show));
  learning.querySelector("fieldset").hidden = axes.length < 2;
  show();
}
// Search and filters of the episodes; "/" goes to the search, Escape empties it.
const search = document.getElementById("search");
if (search) {
  const [arm, reason, shown] = ["by-arm", "by-reason", "shown"].map((id) => document.getElementById(id));
  const episodes = [...document.querySelectorAll(".episode")];
  const texts = episodes.map((each) => each.textContent.toLowerCase());
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    episodes.forEach((each, index) => {
      const fits = (!arm.value || each.dataset.arm === arm.value)
        && (!reason.value || each.dataset.reason === reason.value)
        && words.every((word) => texts[index].includes(word));
      each.hidden = !fits;
      count += fits;
    });
    shown.textContent = `${count} of ${episodes.length} episodes`;
  };
  [search, arm, reason].forEach((control) => control.addEventListener("input", filter));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      filter();
    }
  });
  filter();
}
