"use strict";
// Charts: one way to make them, with the page's colours in light and dark, a text alternative, and the keyboard.
Object.assign(Treewright, (() => {
  const { element, table } = Treewright;
  const KINDS = { light: ["#0969da", "#9a6700", "#1a7f37", "#bc4c00", "#8250df", "#0e7c86", "#cf222e", "#57606a"], dark: ["#4493f8", "#d29922", "#3fb950", "#f0883e", "#a371f7", "#39c5cf", "#f85149", "#9198a1"] };
  const SHADES = { light: ["#7d8f1f", "#3f915c", "#1f8583", "#2a6f8e", "#414487", "#440154"], dark: ["#7d6fb0", "#5a86c4", "#2fa0a8", "#35b779", "#8fd744", "#fde725"] };
  const REACH = 18; // pixels
  const charts = new Set();
  const night = window.matchMedia("(prefers-color-scheme: dark)");
  let named = 0;

  // Return a colour of the style sheet: ink, quiet, line, paper, shade, best, bad, odd, link, dot.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  // Return the colour of the k-th of several kinds, which differ in light and dark.
  const kind = (k) => { const some = KINDS[night.matches ? "dark" : "light"]; return some[k % some.length]; };

  // Return six colours from the worst to the best (or the oldest to the newest), each with a contrast of 3:1 to the paper.
  const shades = () => SHADES[night.matches ? "dark" : "light"];

  // Return the option with the page's text, axes and tooltips where it says nothing else.
  function dressed(option) {
    const ink = colour("ink"), quiet = colour("quiet"), line = colour("line");
    const axis = (one) => ({ nameTextStyle: { color: quiet }, nameLocation: "middle", nameGap: 26, ...one, axisLabel: { color: quiet, hideOverlap: true, showMinLabel: one.min === undefined, showMaxLabel: one.max === undefined, ...one.axisLabel }, axisLine: { onZero: false, lineStyle: { color: line }, ...one.axisLine }, splitLine: { lineStyle: { color: line }, ...one.splitLine } });
    const axes = (some) => Array.isArray(some) ? some.map(axis) : some && axis(some);
    return {
      animation: false, backgroundColor: "transparent", color: KINDS[night.matches ? "dark" : "light"],
      ...option,
      textStyle: { color: ink, fontFamily: "system-ui, sans-serif", ...option.textStyle },
      tooltip: { renderMode: "richText", confine: true, backgroundColor: colour("paper"), borderColor: line, textStyle: { color: ink, fontSize: 12, width: 320, overflow: "break" }, ...option.tooltip },
      ...(option.legend ? { legend: { textStyle: { color: ink }, inactiveColor: quiet, pageTextStyle: { color: ink }, ...option.legend } } : {}),
      ...(option.xAxis ? { xAxis: axes(option.xAxis) } : {}), ...(option.yAxis ? { yAxis: axes(option.yAxis) } : {}),
    };
  }

  // Append a chart to ``root``. ``option``: of ECharts, or a function that returns one (called anew when colours change).
  // label: what it is; text: what it shows, in words; rows: a function that returns objects for a table of the same data;
  // tall: a taller frame; click(params): a mark was clicked; key(event): a key was pressed on the chart.
  function chart(root, option, { label, text, rows, tall, click, key } = {}) {
    const figure = element("figure"), frame = element("div", undefined, "frame" + (tall ? " tall" : "")), words = element("figcaption", text, "quiet");
    words.id = `said-${++named}`;
    Object.assign(frame, { tabIndex: 0, role: "img", ariaLabel: label });
    frame.setAttribute("aria-describedby", words.id);
    figure.append(frame, words);
    if (rows) figure.append(asTable(rows));
    root.append(figure);
    const made = { figure, frame, words, instance: null, option, click };
    if (key) frame.addEventListener("keydown", key);
    frame.addEventListener("keydown", (event) => { if (event.key === "Escape") made.instance.dispatchAction({ type: "hideTip" }); });
    begin(made);
    return Object.assign(made, { ring: (points, size) => ring(made, points, size), set(next, words) { if (next) made.option = next; if (words !== undefined) made.words.textContent = words; paint(made); } });
  }

  function asTable(rows) {
    const made = element("details");
    made.append(element("summary", "the same as a table"));
    made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) made.append(table(rows())); });
    return made;
  }

  function begin(made) {
    for (const each of charts) if (!each.frame.isConnected) end(each);
    charts.add(made);
    made.instance = echarts.init(made.frame, null, { renderer: "canvas" });
    made.watch = new ResizeObserver(() => { if (made.frame.clientWidth) { made.instance.resize(); place(made); } });
    made.watch.observe(made.frame);
    made.instance.on("datazoom", () => place(made));
    if (made.click) listen(made);
    paint(made);
  }

  // A click beside the marks counts for the nearest one within a finger's reach.
  function listen(made) {
    made.instance.on("click", made.click);
    made.instance.getZr().on("click", (event) => {
      const data = event.target ? undefined : nearest(made.instance, made.shown, event.offsetX, event.offsetY);
      if (data) made.click({ data });
    });
  }

  // Return how pixels follow from values: by two points where both axes are linear, which is faster for thousands of marks.
  function scaled(instance, { xAxis, yAxis }) {
    const exact = (point) => instance.convertToPixel({ gridIndex: 0 }, point);
    if (xAxis?.type !== "value" || yAxis?.type !== "value") return exact;
    const [x0, y0] = exact([0, 0]), [x1, y1] = exact([1, 1]);
    return ([x, y]) => [x0 + x * (x1 - x0), y0 + y * (y1 - y0)];
  }

  function nearest(instance, option, x, y) {
    const place = scaled(instance, option);
    let least = REACH * REACH, found;
    for (const one of option.series) {
      if (one.type !== "scatter" || one.silent) continue;
      for (const data of one.data) {
        const [px, py] = place(data.value ?? data), away = (px - x) ** 2 + (py - y) ** 2;
        if (away < least) { least = away; found = data; }
      }
    }
    return found;
  }

  // Put rings around these points ([x, y]), in a layer of their own: a chart of thousands of marks is not drawn again for them.
  function ring(made, points, size) {
    made.rings = { points, size };
    place(made);
  }

  function place(made) {
    const zr = made.instance.getZr(), { points = [], size = 8 } = made.rings ?? {};
    for (const each of made.drawn ?? []) zr.remove(each);
    made.drawn = points.map((point) => {
      const [cx, cy] = made.instance.convertToPixel({ gridIndex: 0 }, point);
      return new echarts.graphic.Circle({ shape: { cx, cy, r: size }, style: { fill: "none", stroke: colour("link"), lineWidth: 3 }, silent: true, zlevel: 1, z: 9 });
    });
    for (const each of made.drawn) zr.add(each);
  }

  function end(made) {
    made.watch.disconnect();
    made.instance.dispose();
    charts.delete(made);
  }

  function paint(made) {
    made.shown = dressed(typeof made.option === "function" ? made.option() : made.option);
    made.instance.setOption(made.shown, { notMerge: true });
    place(made);
  }

  night.addEventListener("change", () => { for (const made of charts) if (made.frame.isConnected) paint(made); });

  return { chart, colour, dark: () => night.matches, kind, shades };
})());
