"use strict";
// Models: what the language models answered and cost.
(() => {
  const { section, table } = Treewright;
  const draw = (root, { facts }) => root.append(section("Language models", "", table(facts.models)));
  Treewright.view({ name: "models", title: "Models", draw, available: (facts) => facts.models.length > 0 });
})();
