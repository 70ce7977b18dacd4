"use strict";
// The buttons of the live page: commands to the running search. Answers are set as text, never as markup.
Treewright.steering = () => {
  const { $, element } = Treewright, bar = element("details");
  bar.open = !Treewright.narrow.matches;
  bar.id = "steer";
  const said = element("span");
  said.className = "quiet";
  said.setAttribute("role", "status");

  async function send(order) {
    said.textContent = "…";
    try {
      const answer = await fetch("steer", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) });
      const found = await answer.json();
      said.textContent = found.done ?? found.message;
    } catch (error) {
      said.textContent = "no answer: " + error.message;
    }
  }

  function button(text, order) {
    const made = element("button", text);
    made.type = "button";
    made.dataset.order = order().command;
    made.addEventListener("click", () => send(order()));
    return made;
  }

  function input(label, placeholder) {
    const made = element("input"), around = element("label", label + " ");
    made.placeholder = placeholder;
    around.append(made);
    return [made, around];
  }

  const [words, wordsLabel] = input("instruct", "try ...");
  const [node, nodeLabel] = input("node", "its id, in full");
  const file = element("input"), fileLabel = element("label", "propose ");
  file.type = "file";
  fileLabel.append(file);
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (chosen) await send({ command: "propose", files: { [chosen.name]: await chosen.text() }, parent: node.value.trim() || null });
    file.value = "";
  });
  // A click on a node of the page puts its id, which the page shows, into the field.
  const panel = $("node");
  if (panel) new MutationObserver(() => {
    const found = panel.querySelector("[data-node]");
    if (found) node.value = found.dataset.node;
  }).observe(panel, { childList: true, subtree: true });

  const mark = (command) => button(command[0].toUpperCase() + command.slice(1), () => ({ command, node: node.value.trim() }));
  const first = element("p"), second = element("p");
  first.className = second.className = "controls";
  first.append(
    button("Pause", () => ({ command: "pause" })), button("Resume", () => ({ command: "resume" })),
    button("Stop after this", () => ({ command: "stop" })),
    button("Budget +10", () => ({ command: "budget", limit: "evaluations", added: 10 })), said,
  );
  second.append(wordsLabel, button("Instruct", () => ({ command: "instruct", words: words.value })), nodeLabel, mark("pin"), mark("ban"), mark("free"), fileLabel);
  bar.append(element("summary", "Steer the running search"), first, second);
  $("views").before(bar);
};
