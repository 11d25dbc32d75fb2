// What a player is told of the page: a line for each element that can be seen, with a number to act
// on it by. The elements are kept under these numbers until the page is told again.
() => {
  const HIDDEN = ["reward-display", "sync-task-cover", "click-canvas", "query"];
  const PASSED = ["SCRIPT", "STYLE", "OPTION", "BR"];
  const elements = [];
  const lines = [];
  const quoted = (text) => `"${text.replace(/\s+/g, " ")}"`;
  const ownText = (element) =>
    [...element.childNodes]
      .filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.data)
      .join(" ")
      .replace(/\s+/g, " ")
      .trim();
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility !== "hidden";
  };
  const described = (element) => {
    const tag = element.tagName.toLowerCase();
    if (tag === "select") {
      const options = [...element.options].map((option) => option.text).join(" | ");
      const chosen = element.selectedIndex < 0 ? "" : element.options[element.selectedIndex].text;
      return `select ${quoted(chosen)} of ${options}`;
    }
    if (tag === "input" && ["checkbox", "radio"].includes(element.type)) {
      return `${element.type}, ${element.checked ? "on" : "off"}`;
    }
    if (tag === "input" && ["button", "submit"].includes(element.type)) {
      return `button ${quoted(element.value)}`;
    }
    if (tag === "input" || tag === "textarea") {
      return `${tag === "input" ? element.type : tag} field ${quoted(element.value)}`;
    }
    const text = ownText(element);
    const name = String(element.getAttribute("class") || element.id || "").trim();
    if (text) return `${tag} ${quoted(text)}`;
    return element.children.length || !name ? null : `${tag} (${name})`;
  };
  const visit = (element) => {
    if (HIDDEN.includes(element.id) || PASSED.includes(element.tagName)) return;
    const line = isSeen(element) ? described(element) : null;
    const state = element.disabled ? ", disabled" : "";
    if (line) lines.push(`[${elements.push(element)}] ${line}${state}`);
    [...element.children].forEach(visit);
  };
  [...document.body.children].forEach(visit);
  window.agentlmElements = elements;
  return lines.join("\n");
}
