"use strict";
// Curves: the learning curves of any selection of nodes, overlaid; the root and the leader are always there.
(() => {
  const { section } = Treewright;
  const draw = (root) => root.append(section("Learning curves"));
  Treewright.view({ name: "curves", title: "Curves", draw });
})();
