"use strict";
// Parts of the data that a view asks for when it is shown, and what a view says meanwhile.
Object.assign(Treewright, (() => {
  const { button, element } = Treewright;

  // Load parts by name, then call ``ready`` with them in order, unless the view is gone by then. A part that is not there is null.
  function load(root, names, ready) {
    const place = element("div"), waiting = element("p", "Loading …", "quiet");
    waiting.setAttribute("role", "status");
    place.append(waiting);
    root.append(place);
    Promise.all(names.map((name) => Treewright.source.part(name))).then((parts) => {
      if (!place.isConnected) return;
      place.replaceChildren();
      ready(place, ...parts);
      place.dataset.loaded = names.join(" ");
    }).catch((error) => { place.replaceChildren(element("p", `This cannot be shown: ${error.message}`, "bad")); console.error(error); });
    return place;
  }

  // Return the draw and update of a view that stands still while a search goes on: it draws anew when the address changes, or
  // when asked to. moved(root, now): the address has changed; returns whether that is all there was to do.
  function steady(draw, moved = () => false) {
    let marks, facts;
    const key = ({ params }) => params.toString().replace(/(^|&)node=[^&]*/, "");
    const begin = (root, now) => { marks = key(now); facts = now.facts; root.replaceChildren(); draw(root, now); };
    function update(root, now) {
      const other = key(now) !== marks;
      if (other && facts.run.run === now.facts.run.run && moved(root, now)) { marks = key(now); return; }
      if (other || facts.run.run !== now.facts.run.run) begin(root, now);
      else if (now.facts !== facts && root.firstChild?.className !== "news") {
        const news = element("p", "The run has gone on since. ", "news");
        news.append(button("Show what is new", () => begin(root, Treewright.state())));
        root.prepend(news);
      }
    }
    return { draw: begin, update };
  }

  // Give a chart of bars the height of its rows.
  function bars(plot, rows) { plot.frame.style.height = `${70 + 34 * Math.max(1, rows)}px`; }

  return { bars, load, steady };
})());
