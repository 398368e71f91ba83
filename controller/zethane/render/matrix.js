"use strict";
// Draws the tables from the data in the page. Nothing from the data is ever markup: it is only set as text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SIGNS = { allow: "■", condition: "◩", deny: "×", none: "·" };
  const WORDS = { allow: "allowed", condition: "under a condition", deny: "denied", none: "no rule allows anything" };
  const MOST = 250;
  const LARGE = 12;
  const frame = byId("frame");
  let kind = "segments";
  let rows = [];
  let columns = [];
  let pinned = null;
  let lit = [];

  const make = (tag, text, className) => {
    const one = document.createElement(tag);
    if (text !== undefined) one.textContent = text;
    if (className) one.className = className;
    return one;
  };
  const table = () => data[kind];
  const content = (row, column) => data.contents[table().rows[table().rowOf[row]][column]];
  const named = (service) => (data.services[service] ? `${data.services[service]} (${service})` : service);

  // The state of a cell, for one service if one is chosen.
  const state = (row, column) => {
    const [all, offers, denies] = content(row, column);
    const service = byId("service").value;
    if (!service) return all;
    const found = offers.filter((offer) => offer[0] === service).map((offer) => offer[1]);
    if (found.length) return found.includes("allow") ? "allow" : "condition";
    return denies.some((id) => data.rules[id].services.includes(service)) ? "deny" : "none";
  };

  // `web` shows rows and columns with it in their names, `web -> db` rows of the one and columns of the other.
  const wanted = () => {
    const parts = byId("filter").value.toLowerCase().split("->");
    const one = parts[0].trim();
    const other = parts.length > 1 ? parts[1].trim() : null;
    const names = table().names.map((name) => name[0].toLowerCase());
    const of = (text) => names.flatMap((name, number) => (name.includes(text) ? [number] : []));
    rows = of(one);
    columns = other === null ? of(one) : of(other);
    if (other === null && one) {
      // Whom they open something to, and who opens something to them, belongs to it.
      const all = names.map((_, number) => number);
      const hit = new Set(rows);
      const open = (row, column) => state(row, column) === "allow" || state(row, column) === "condition";
      columns = all.filter((column) => hit.has(column) || [...hit].some((row) => open(row, column)));
      rows = all.filter((row) => hit.has(row) || [...hit].some((column) => open(row, column)));
    }
    if (byId("open").checked) {
      const open = (row, column) => state(row, column) !== "none";
      rows = rows.filter((row) => columns.some((column) => open(row, column)));
      columns = columns.filter((column) => rows.some((row) => open(row, column)));
    }
  };

  const head = (number, scope) => {
    const [name, note] = table().names[number];
    const one = make("th");
    one.scope = scope;
    one.setAttribute("role", scope === "row" ? "rowheader" : "columnheader");
    one.title = `${name}\n${note}`;
    one.append(make("span", name));
    return one;
  };

  const cell = (row, column, large) => {
    const found = state(row, column);
    const one = make("td", large ? undefined : SIGNS[found], found);
    if (kind === "hosts" && row === column) one.classList.add("self");
    one.tabIndex = -1;
    one.setAttribute("role", "gridcell");
    if (large) {
      const [, offers, denies] = content(row, column);
      const service = byId("service").value;
      const shown = offers.filter((offer) => !service || offer[0] === service);
      const lines = shown.map((offer) => `${SIGNS[offer[1]]} ${named(offer[0])}`);
      if (!lines.length) lines.push(found === "deny" ? `${SIGNS.deny} by ${denies.join(", ")}` : SIGNS[found]);
      const first = lines.length > 3 ? [...lines.slice(0, 2), `and ${lines.length - 2} more`] : lines;
      one.append(...first.map((line, index) => make("span", line, shown[index] ? shown[index][1] : undefined)));
    }
    return one;
  };

  const draw = () => {
    wanted();
    const all = [rows.length, columns.length];
    rows = rows.slice(0, MOST);
    columns = columns.slice(0, MOST);
    const large = columns.length <= LARGE;
    const drawn = make("table", undefined, large ? "large" : "small");
    drawn.setAttribute("role", "grid");
    drawn.setAttribute("aria-label", `Who may open what: ${kind} in the rows open to those in the columns`);
    const top = make("thead");
    const first = make("tr");
    // Styled as boxes, so that rows out of sight cost nothing: what they are has to be said.
    first.setAttribute("role", "row");
    const corner = make("th");
    corner.append(make("span", "from \\ to"));
    first.append(corner, ...columns.map((number) => head(number, "col")));
    top.append(first);
    const body = make("tbody");
    for (const row of rows) {
      const line = make("tr");
      line.setAttribute("role", "row");
      line.append(head(row, "row"), ...columns.map((column) => cell(row, column, large)));
      body.append(line);
    }
    drawn.append(top, body);
    const some = all[0] > rows.length || all[1] > columns.length;
    const note = make(
      "p",
      some
        ? `${rows.length} of ${all[0]} rows and ${columns.length} of ${all[1]} columns are shown: filter to see others`
        : rows.length && columns.length ? `${rows.length} rows, ${columns.length} columns` : "nothing has such a name",
      "note",
    );
    note.id = "shown";
    frame.replaceChildren(drawn, note);
    lit = [];
    pinned = null;
    const start = body.querySelector("td");
    if (start) start.tabIndex = 0;
    else frame.tabIndex = 0;
    explain(null);
  };

  const place = (one) => [one.parentElement.sectionRowIndex, one.cellIndex - 1];

  const light = (one) => {
    for (const old of lit) old.classList.remove("lit");
    const [row, column] = place(one);
    const drawn = one.closest("table");
    lit = [drawn.tBodies[0].rows[row], drawn.tHead.rows[0].cells[column + 1]];
    for (const now of lit) now.classList.add("lit");
    let band = byId("band");
    if (!band) {
      band = make("div");
      band.id = "band";
      drawn.tBodies[0].append(band);
    }
    band.style.left = `${one.offsetLeft}px`;
    band.style.width = `${one.offsetWidth}px`;
  };

  const ruleText = (id) => {
    const rule = data.rules[id];
    const item = make("li");
    item.append(make("code", id), make("span", ` ${rule.action}s ${rule.from} → ${rule.to}: ${rule.services.join(", ")}`));
    if (rule.asks.length) item.append(make("div", `only if ${rule.asks.join(" and ")}`));
    item.append(make("div", `${data.file}:${rule.line}`, "where"));
    return item;
  };

  const explain = (one) => {
    const box = byId("about");
    if (!one) {
      box.replaceChildren(
        make("h2", "Point at a cell"),
        make("p", "Rows open flows to columns. Click or Enter keeps a cell here, Escape lets it go; arrow keys move."),
      );
      return;
    }
    const [row, column] = place(one);
    const [source, target] = [table().names[rows[row]], table().names[columns[column]]];
    const [all, offers, denies] = content(rows[row], columns[column]);
    const parts = [make("h2", `${source[0]} → ${target[0]}`), make("p", `${source[1]} → ${target[1]}`)];
    const self = kind === "hosts" && rows[row] === columns[column];
    if (!offers.length) parts.push(make("p", self ? "the same host" : WORDS[all]));
    const list = make("ul");
    const rules = new Set();
    for (const [service, how, allowing, denying] of offers) {
      const item = make("li");
      item.append(make("b", `${SIGNS[how]} ${named(service)}`));
      const now = kind === "hosts" ? "not now: a condition is not met" : WORDS.condition;
      item.append(make("span", ` ${how === "allow" ? WORDS.allow : now}`));
      const by = `by ${allowing.join(", ")}${denying.length ? ` unless ${denying.join(", ")}` : ""}`;
      item.append(make("div", by, "where"));
      for (const id of [...allowing, ...denying]) rules.add(id);
      list.append(item);
    }
    for (const id of denies) rules.add(id);
    parts.push(list);
    if (rules.size) {
      const told = make("ul");
      told.append(...[...rules].map(ruleText));
      parts.push(make("h2", "Rules"), told);
    }
    box.replaceChildren(...parts);
    one.setAttribute("aria-label", `${source[0]} to ${target[0]}: ${WORDS[state(rows[row], columns[column])]}`);
  };

  const pin = (one) => {
    if (pinned) pinned.classList.remove("pinned");
    pinned = one === pinned ? null : one;
    if (pinned) pinned.classList.add("pinned");
    light(one);
    explain(one);
  };

  const go = (one, across, down) => {
    const body = one.closest("tbody");
    const [row, column] = place(one);
    const line = body.rows[Math.max(0, Math.min(body.rows.length - 1, row + down))];
    const next = line.cells[Math.max(1, Math.min(line.cells.length - 1, column + across + 1))];
    one.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };

  const look = (event) => {
    const one = event.target.closest("td");
    if (one && !pinned) {
      light(one);
      explain(one);
    }
  };
  frame.addEventListener("mouseover", look);
  frame.addEventListener("focusin", look);
  frame.addEventListener("click", (event) => {
    const one = event.target.closest("td");
    if (!one) return;
    pin(one);
    for (const old of frame.querySelectorAll("td[tabindex='0']")) old.tabIndex = -1;
    one.tabIndex = 0;
    one.focus();
  });
  const FAR = 100000;
  const MOVES = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    Home: [-FAR, 0], End: [FAR, 0], PageUp: [0, -20], PageDown: [0, 20],
  };
  frame.addEventListener("keydown", (event) => {
    const one = event.target.closest("td");
    if (!one) return;
    if (MOVES[event.key]) go(one, ...MOVES[event.key]);
    else if (event.key === "Enter" || event.key === " ") pin(one);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && pinned) pin(pinned);
    if (event.key === "/" && event.target.tagName !== "INPUT") {
      event.preventDefault();
      byId("filter").focus();
    }
  });

  const show = (tab) => {
    for (const one of document.querySelectorAll("[role=tab]")) one.setAttribute("aria-selected", String(one === tab));
    const graph = tab.id === "tab-graph";
    byId("graph").hidden = !graph;
    frame.hidden = graph;
    byId("panel").hidden = graph;
    byId("filters").hidden = graph;
    byId("graph-controls").hidden = !graph;
    if (graph) return;
    kind = tab.id === "tab-hosts" ? "hosts" : "segments";
    frame.scrollTo(0, 0);
    draw();
  };
  for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => show(tab));
  let timer = 0;
  byId("filter").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(draw, 120);
  });
  byId("service").addEventListener("change", draw);
  byId("open").addEventListener("change", draw);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());

  for (const service of data.allServices) {
    const one = make("option", named(service));
    one.value = service;
    byId("service").append(one);
  }

  // The graph: a click on a node leaves only its own edges; the size; denials.
  const pictures = [...document.querySelectorAll("#graph svg")];
  const pick = (picture, number) => {
    const old = picture.dataset.picked;
    picture.classList.remove("picked");
    for (const one of picture.querySelectorAll(".on")) one.classList.remove("on");
    delete picture.dataset.picked;
    if (number === undefined || number === old) return;
    picture.dataset.picked = number;
    picture.classList.add("picked");
    const near = new Set([number]);
    for (const wire of picture.querySelectorAll(".wire")) {
      const ends = wire.dataset.ends.split(" ");
      if (ends.includes(number)) {
        wire.classList.add("on");
        if (ends[0] === number) for (const end of ends) near.add(end);
        else near.add(ends[0]);
      }
    }
    for (const node of picture.querySelectorAll(".node")) if (near.has(node.dataset.node)) node.classList.add("on");
  };
  for (const picture of pictures) {
    picture.addEventListener("click", (event) => {
      const node = event.target.closest(".node");
      pick(picture, node ? node.dataset.node : undefined);
    });
  }
  let scale = 1;
  const size = (factor) => {
    scale = factor === 0 ? 1 : Math.max(0.1, Math.min(4, scale * factor));
    for (const picture of pictures) {
      const box = picture.viewBox.baseVal;
      picture.setAttribute("width", box.width * scale);
      picture.setAttribute("height", box.height * scale);
    }
  };
  byId("larger").addEventListener("click", () => size(1.25));
  byId("smaller").addEventListener("click", () => size(0.8));
  byId("actual").addEventListener("click", () => size(0));
  const denials = byId("denials");
  denials.addEventListener("change", () => {
    byId("with").hidden = !denials.checked;
    byId("without").hidden = denials.checked;
  });

  show(byId("tab-segments"));
})();
