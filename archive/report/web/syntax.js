"use strict";
// Programs as text: syntax colours of three families of languages, and the differences of lines.
Object.assign(Treewright, (() => {
  const { element } = Treewright;
  const words = (text) => new Set(text.split(" "));
  const PYTHON = words("and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield None True False self");
  const C = words("auto bool break case catch char class const constexpr continue default delete do double else enum export extends extern false final finally float for fn func function if impl import in inline int interface let long match mut namespace new nil null nullptr override package private protected pub public return short signed sizeof static struct super switch template this throw true try type typedef typename union unsigned use using var virtual void volatile while");
  const SHELL = words("case do done elif else esac exit export fi for function if in local return set then until while true false null yes no");
  const NUMBER = /0[xX][0-9a-fA-F_]+|\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?/y, NAME = /[A-Za-z_$][\w$]*/y;
  const FAMILIES = {
    python: { keywords: PYTHON, line: "#", quotes: ['"""', "'''", '"', "'"], long: new Set(['"""', "'''"]) },
    c: { keywords: C, line: "//", block: ["/*", "*/"], quotes: ['"', "'", "`"], long: new Set(["`"]) },
    hash: { keywords: SHELL, line: "#", quotes: ['"', "'"], long: new Set() },
    plain: null,
  };
  const SUFFIXES = { py: "python", pyi: "python", c: "c", h: "c", cc: "c", cpp: "c", hpp: "c", cu: "c", cuh: "c", cs: "c", go: "c", java: "c", js: "c", json: "c", jsx: "c", kt: "c", rs: "c", scala: "c", swift: "c", ts: "c", tsx: "c", zig: "c", bash: "hash", cfg: "hash", conf: "hash", ini: "hash", jl: "hash", pl: "hash", r: "hash", rb: "hash", sh: "hash", toml: "hash", yaml: "hash", yml: "hash", makefile: "hash", dockerfile: "hash" };

  const family = (path) => { const name = path.split("/").pop().toLowerCase(); return FAMILIES[SUFFIXES[name.includes(".") ? name.split(".").pop() : name] ?? "plain"]; };

  // Return for each line its tokens [class, text]; a string or a comment may go over several lines.
  function tokens(lines, path) {
    const rules = family(path);
    if (!rules) return lines.map((line) => [["", line]]);
    let open = null; // {end, kind} of what a line above began
    return lines.map((line) => {
      const found = [], add = (kind, text) => { if (text) found.push([kind, text]); };
      let at = 0, plain = 0;
      const token = (kind, end) => { add("", line.slice(plain, at)); add(kind, line.slice(at, end)); at = plain = end; };
      while (at < line.length) {
        if (open) { const end = closing(line, at, open.end); token(open.kind, end < 0 ? line.length : end); if (end >= 0) open = null; continue; }
        if (line.startsWith(rules.line, at)) { token("comment", line.length); continue; }
        if (rules.block && line.startsWith(rules.block[0], at)) { open = { end: rules.block[1], kind: "comment" }; continue; }
        const quote = rules.quotes.find((each) => line.startsWith(each, at));
        if (quote) {
          const end = closing(line, at + quote.length, quote);
          if (end < 0 && rules.long.has(quote)) open = { end: quote, kind: "string" };
          token("string", end < 0 ? line.length : end);
          continue;
        }
        const name = match(NAME, line, at), value = name ? "" : match(NUMBER, line, at);
        if (name && rules.keywords.has(name)) token("keyword", at + name.length);
        else if (value) token("number", at + value.length);
        else at += name.length || 1;
      }
      add("", line.slice(plain));
      return found;
    });
  }

  function match(rule, line, at) { rule.lastIndex = at; return rule.exec(line)?.[0] ?? ""; }

  // Return the position after the end of a string or comment; -1 where it does not end in this line.
  function closing(line, from, end) {
    for (let at = from; at <= line.length - end.length; at++) {
      if (line[at] === "\\" && end !== "*/") { at++; continue; }
      if (line.startsWith(end, at)) return at + end.length;
    }
    return -1;
  }

  // Append a line's tokens to an element, as text.
  function coloured(place, some) {
    for (const [kind, text] of some) place.append(kind ? element("span", text, `t-${kind}`) : text);
    return place;
  }

  // ------------------------------------------------------------ differences

  const STEPS = 800; // edits that are searched for; beyond, what is between the equal ends counts as replaced

  // Return [sign, i, j] of each line: " " in both, "-" in a alone, "+" in b alone (Myers 1986).
  function lineDiff(a, b) {
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const middle = shortest(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
    return [
      ...Array.from({ length: head }, (_, k) => [" ", k, k]),
      ...middle.map(([sign, i, j]) => [sign, i + head, j + head]),
      ...Array.from({ length: tail }, (_, k) => [" ", a.length - tail + k, b.length - tail + k]),
    ];
  }

  function shortest(a, b) {
    const n = a.length, m = b.length, most = Math.min(n + m, STEPS), trail = [], reach = new Int32Array(2 * most + 3), middle = most + 1;
    for (let d = 0; d <= most; d++) {
      trail.push(reach.slice());
      for (let k = -d; k <= d; k += 2) {
        let x = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]) ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
        while (x < n && x - k < m && a[x] === b[x - k]) x++;
        reach[middle + k] = x;
        if (x >= n && x - k >= m) return back(trail, middle, n, m, d);
      }
    }
    return [...a.map((_, i) => ["-", i, 0]), ...b.map((_, j) => ["+", n, j])];
  }

  function back(trail, middle, n, m, steps) {
    const found = [];
    let x = n, y = m;
    for (let d = steps; d > 0; d--) {
      const reach = trail[d], k = x - y, down = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]);
      const before = reach[middle + (down ? k + 1 : k - 1)], above = before - (down ? k + 1 : k - 1);
      while (x > (down ? before : before + 1)) found.push([" ", --x, --y]);
      found.push([down ? "+" : "-", before, above]);
      x = before; y = above;
    }
    while (x > 0) found.push([" ", --x, --y]);
    return found.reverse();
  }

  // Return the lines of each file after a unified diff. Lines count by the numbers of its hunks, whatever they look like.
  function patched(files, diff) {
    const made = { ...files }, lines = diff.split("\n");
    let at = 0;
    while (at < lines.length && lines[at].startsWith("--- ")) {
      const path = lines[at].slice(4), old = files[path] ?? [], next = [];
      let from = 0;
      at += 2;
      while (at < lines.length && lines[at].startsWith("@@ ")) {
        const [, start, length, , added] = lines[at].match(/^@@ -(\d+),(\d+) \+(\d+),(\d+) @@$/).map(Number), first = start - 1;
        next.push(...old.slice(from, first));
        from = first + length;
        let [gone, come] = [length, added];
        for (at++; (gone > 0 || come > 0) && at < lines.length; at++) {
          const sign = lines[at][0];
          if (sign !== "+") gone--;
          if (sign !== "-") { come--; next.push(lines[at].slice(1)); }
        }
        if (gone || come) throw new Error("the diff is cut");
      }
      next.push(...old.slice(from));
      made[path] = next;
    }
    if (at < lines.length && lines[at]) throw new Error("the diff is cut");
    return made;
  }

  return { coloured, lineDiff, patched, tokens };
})());
