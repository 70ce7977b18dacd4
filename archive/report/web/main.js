"use strict";
// Start of the page: where its data come from, which view is shown, and what follows new facts.
(() => {
  const { $, adopt, address, choice, element, go, lasting, params, state, views, show } = Treewright;
  let drawn = null; // {name, root}: the view on the screen

  // ------------------------------------------------------------ data

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return JSON.parse(await new Response(stream).text());
  }

  const embedded = {
    live: false,
    kept: new Map(), // chunks of details, by their names
    held: null, // the runs in the file: name -> what the names of their blocks begin with
    prefix: "",
    has(run) { return this.held.has(run); },
    async facts() {
      this.held ??= new Map(Object.entries(await unpack($("runs").textContent)));
      this.prefix = this.held.get(params().get("run")) ?? "";
      return unpack($(this.prefix + "facts").textContent);
    },
    async detail(i) {
      const size = Number($("facts").dataset.chunk), chunk = `${this.prefix}chunk-${Math.floor(i / size)}`;
      if (!this.kept.has(chunk)) this.kept.set(chunk, await unpack($(chunk).textContent));
      return this.kept.get(chunk)[i % size];
    },
    async part(name) {
      const block = $(`${this.prefix}part-${name}`);
      return block ? unpack(block.textContent) : null;
    },
  };

  const served = {
    live: true,
    has: () => true,
    version: null,
    async facts() {
      const query = new URLSearchParams(), run = params().get("run");
      if (this.version !== null) query.set("since", this.version);
      if (run) query.set("run", run);
      const answer = await fetch("facts?" + query);
      if (answer.status === 204) return null;
      if (!answer.ok) throw new Error(`the server answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
      const found = await answer.json();
      this.version = found.version;
      return found;
    },
    async detail(i) {
      const answer = await fetch("node/" + encodeURIComponent(state().facts.nodes.id[i]));
      if (!answer.ok) throw new Error("the server answered " + answer.status);
      return answer.json();
    },
    async part(name) {
      const answer = await fetch("part/" + encodeURIComponent(name) + "?" + new URLSearchParams({ run: state().facts.run.run }));
      if (answer.status === 404) return null;
      if (!answer.ok) throw new Error("the server answered " + answer.status);
      return answer.json();
    },
  };
  const source = Treewright.source = $("facts") ? embedded : served;

  // ------------------------------------------------------------ header and navigation

  // Return what changes in an address that shows another run: nothing that names a node of this one stays.
  Treewright.other = (run) => ({ run, view: "overview", node: null, nodes: null, focus: null, folds: null, axes: null, parameter: null, call: null });

  function switcher({ facts: { run, runs } }) {
    const there = runs.filter((one) => one.run === run.run || source.has(one.run));
    const made = there.length < 2 ? [] : [choice("run", there.map((one) => [one.run, one.run]), run.run, (name) => go(Treewright.other(name)))];
    if (document.activeElement?.closest("#switch")) return; // somebody is about to choose
    $("switch").replaceChildren(...made);
  }

  function describe(now) {
    const { run, spending, nodes } = now.facts, total = (name) => spending.reduce((sum, row) => sum + (row[name] || 0), 0);
    document.title = `${run.run} · Treewright`;
    $("title").textContent = `Run ${run.run}: ${run.task}, ${run.metric} (${run.direction})`;
    switcher(now);
    Treewright.outcome($("outcome"), now);
    $("summary").textContent = [
      `${nodes.id.length.toLocaleString("en")} candidates, ${run.evaluations.toLocaleString("en")} evaluations, ${lasting(3600 * total("wall_hours"))} of device time`,
      `$${total("dollars").toFixed(2)}${total("unpriced_calls") ? ` and ${total("unpriced_calls")} calls of unknown price` : ""}`,
      `scores: ${run.conditions.trust || "none"}`, run.conditions.hardware || "", Treewright.deviation(now.facts),
      `holdout read ${now.facts.holdout_reads} times`, `policy ${run.policy}`, `seed ${run.seed}`,
    ].filter(Boolean).join(" · ");
  }

  function navigate(now) {
    const links = [...views.values()].filter((one) => !one.available || one.available(now.facts)).map((one) => {
      const made = Object.assign(element("a", one.title), { href: address({ view: one.name }) });
      if (one.name === now.view) made.setAttribute("aria-current", "page");
      return made;
    });
    const focused = [...$("views").children].indexOf(document.activeElement);
    $("views").replaceChildren(...links);
    const bar = $("views"), current = links.find((one) => one.hasAttribute("aria-current"));
    if (current && bar.scrollWidth > bar.clientWidth) bar.scrollLeft = current.offsetLeft - bar.offsetLeft - (bar.clientWidth - current.offsetWidth) / 2;
    if (focused >= 0) links[focused]?.focus();
  }

  // ------------------------------------------------------------ drawing

  // Draw what the address says. ``fresh``: the facts are new, so a view that cannot update is drawn anew.
  function render(fresh) {
    const now = state(), known = views.get(now.view) ?? views.get("overview");
    if (fresh) describe(now);
    navigate({ ...now, view: known.name });
    const marks = now.params.toString().replace(/(^|&)node=[^&]*/, "");
    const same = drawn && drawn.name === known.name;
    if (fresh) $("main").append($("node")); // the panel may lie within what is drawn anew
    if (same && known.update) known.update(drawn.root, now);
    else if (!same || fresh || drawn.marks !== marks) draw(known, now);
    drawn.marks = marks;
    show(now);
  }

  function draw(known, now) {
    const root = element("div");
    root.id = "view";
    root.dataset.view = known.name;
    $("main").prepend($("node")); // the panel may lie within the view that goes
    $("view").replaceWith(root);
    drawn = { name: known.name, root };
    $("main").append($("node"));
    try { known.draw(root, now); } catch (error) { root.append(element("p", `This view cannot be shown: ${error.message}`, "bad")); console.error(error); }
  }

  async function follow() {
    try {
      const found = await source.facts();
      if (found) { adopt(found); render(true); }
      delete document.body.dataset.lost;
    } catch (error) {
      document.body.dataset.lost = "yes";
      $("summary").textContent = source.live ? `The server does not answer (${error.message}); the data shown may be old.` : `The run cannot be shown: ${error.message}`;
      source.version = null;
    }
  }

  async function repeat() {
    await follow();
    setTimeout(repeat, 2000);
  }

  let run = null;
  async function moved() {
    const next = params().get("run");
    if (next !== run) { run = next; source.version = null; await follow(); return; }
    render(false);
  }

  // Keep times since a moment true while no new facts come.
  setInterval(() => { for (const each of document.querySelectorAll("[data-since]")) each.textContent = Treewright.ago(Date.now() / 1000 - each.dataset.since); }, 1000);

  $("views").addEventListener("keydown", (event) => {
    const links = [...$("views").children], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = links[links.indexOf(document.activeElement) + (step ?? NaN)];
    if (next) { next.focus(); event.preventDefault(); }
  });

  async function start() {
    run = params().get("run");
    adopt(await source.facts());
    if (source.live) Treewright.steering();
    render(true);
    window.addEventListener("hashchange", moved);
    document.body.dataset.ready = "yes";
    document.body.dataset.milliseconds = performance.now().toFixed(0);
    if (source.live) setTimeout(repeat, 2000);
  }

  start().catch((error) => { $("outcome").textContent = `This page cannot be shown: ${error.message}`; console.error(error); });
})();
