"use strict";
// Failures: evaluations without a score.
(() => {
  const { section, table } = Treewright;
  const draw = (root, { facts }) => root.append(section("Failures", "", table(facts.failures)));
  Treewright.view({ name: "failures", title: "Failures", draw, available: (facts) => facts.failures.length > 0 });
})();
