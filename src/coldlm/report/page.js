"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");

  // colours: those of the system until somebody chooses
  const toggle = document.querySelector(".theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    toggle.textContent = isDark() ? "Light" : "Dark";
    toggle.setAttribute("aria-pressed", String(isDark()));
  };
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();

  // a cell by value: what is missing is null, and comes last whichever way one sorts
  const MISSING = new Set(["", "n/a", "–", "not reached", "best trivial", "reference", "FAILED", "DIVERGED"]);
  const NUMBER = /^[[(<]?([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?:[)\]]|, .*\]|, \d+ [A-Z]+)?$/;
  const numberOf = text => {
    const found = NUMBER.exec(text);
    if (!found) return null;
    return Number(found[1].replaceAll(",", "")) - (text.startsWith("<") ? 1e-9 : 0);
  };
  const collator = new Intl.Collator("en", { numeric: true });

  const sortBy = head => {
    const table = head.closest("table"), body = table.tBodies[0];
    body.original ??= [...body.rows];
    const column = head.cellIndex;
    const texts = body.original.map(row => row.cells[column].textContent.trim());
    const known = texts.filter(text => !MISSING.has(text));
    const isNumeric = column > 0 && known.length > 0 && known.every(text => numberOf(text) !== null);
    const values = texts.map(text => MISSING.has(text) ? null : isNumeric ? numberOf(text) : text);
    const order = isNumeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    const next = order[(order.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : next === "descending" ? -1 : 0;
    const places = values.map((_, i) => i);
    if (sign) places.sort((i, j) => {
      const [a, b] = [values[i], values[j]];
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      return sign * (isNumeric ? a - b : collator.compare(a, b)) || i - j;
    });
    body.append(...places.map(i => body.original[i]));
  };

  // a filter rules all tables of its part
  const filter = box => {
    const words = box.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const boxes = all("[type=checkbox]", box);
    const off = new Set(boxes.filter(each => !each.checked).map(each => each.value));
    let shown = 0, rows = 0;
    all("tbody", box.closest(".part")).forEach((body, i) => {
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = off.has(row.className) || !words.every(word => text.includes(word));
        if (i === 0) { rows += 1; shown += !row.hidden; }
      }
    });
    box.querySelector("output").textContent = shown < rows ? `${shown} of ${rows} rows` : "";
  };
  for (const box of all(".filter")) box.addEventListener("input", () => filter(box));

  const save = (content, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const text = (content, type) => new Blob([content], { type: `${type};charset=utf-8` });
  // what a spreadsheet would run as a formula stands as text
  const quoted = value => {
    const isFormula = /^[=@\t\r]|^[+-]/.test(value) && numberOf(value) === null;
    return `"${(isFormula ? "'" : "") + value.replaceAll('"', '""')}"`;
  };
  const csvOf = table => [...table.rows]
    .filter(row => !row.hidden)
    .map(row => [...row.cells].map(cell => quoted(cell.textContent.trim())).join(","))
    .join("\r\n") + "\r\n";
  const copy = async content => {
    if (navigator.clipboard) return navigator.clipboard.writeText(content);
    const field = document.createElement("textarea");
    field.value = content;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  };
  const savePicture = (svg, name) => new Promise((done, failed) => {
    const drawn = svg.cloneNode(true), picture = new Image();
    const [width, height] = ["width", "height"].map(side => Number(svg.getAttribute(side)));
    picture.onerror = failed;
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * width, 2 * height];
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(blob => { save(blob, `${name}.png`); done(); }, "image/png");
    };
    const source = new XMLSerializer().serializeToString(drawn);
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  });

  const actions = {
    csv: section => save(text("\ufeff" + csvOf(section.querySelector("table")), "text/csv"), `${section.dataset.name}.csv`),
    tex: section => save(text(latexOf(section), "application/x-tex"), `${section.dataset.name}.tex`),
    copy: section => copy(latexOf(section)),
    png: (figure, button) => savePicture(figure.querySelector("svg"), button.dataset.name),
  };
  const latexOf = section => section.querySelector("template").content.textContent;

  document.addEventListener("click", async event => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.closest("thead th");
    if (head) sortBy(head);
    if (!button.dataset.do) return;
    const words = button.textContent;
    try {
      await actions[button.dataset.do](button.closest(".table, figure"), button);
      button.textContent = button.dataset.do === "copy" ? "Copied" : "Saved";
    } catch {
      button.textContent = "Failed";
    }
    setTimeout(() => { button.textContent = words; }, 1500);
  });

  addEventListener("beforeprint", () => { for (const each of all("details")) each.open = true; });
})();
