// The chat page: puts the parts together. The node keeps the recent turns; this page keeps only what it shows.

import { Answer } from "./answer.js";
import { announce, byId, el } from "./dom.js";
import { watchMembers } from "./members.js";
import { Chat } from "./socket.js";
import { upload } from "./uploads.js";
import { language, onLanguage, speak, translate, words } from "./words.js";

const NEAR_END_PX = 80;
const MAX_SHOWN = 400; // exchanges kept on the page: a tab that stays open for weeks must not grow for ever

const main = byId("main");
const question = byId("question");
let conversation = freshConversation();
let answer = null; // the one that is running and shown
const asked = []; // answers that have not ended, oldest first: events belong to the first
let node = "";
let following = true;

function freshConversation() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- the connection ---

const chat = new Chat({
  opened: () => showConnection("open"),
  closed: () => {
    showConnection("lost");
    for (const cut of asked.splice(0)) cut.cut();
    answer = null;
    showButton();
  },
  event: (event) => {
    if (event.type === "session") {
      node = event.node;
      showConnection("open");
    } else if (asked[0]?.take(event)) {
      ended(asked.shift());
    }
    follow();
  },
});

function showConnection(state) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent =
    state === "lost" ? words().lost : node ? words().connected(node) : words().connecting;
  showButton();
}

// --- asking ---

function ask(text) {
  const clean = text.trim();
  if (!clean || !chat.open) return;
  if (answer) return;
  byId("welcome").hidden = true;
  answer = new Answer(() => ask(clean));
  asked.push(answer);
  byId("log").append(el("div", { class: "mine" }, el("p", {}, el("span", { class: "unseen" }, `${words().you}: `), clean)), answer.node);
  while (byId("log").children.length > 2 * MAX_SHOWN) byId("log").firstChild.remove();
  chat.send({ type: "ask", text: clean, conversation, language: language() });
  announce(words().thinking);
  following = true;
  showButton();
  follow();
}

function ended(one) {
  if (one === answer) answer = null; // else a new chat has begun meanwhile
  showButton();
}

function stop() {
  if (answer && chat.open) chat.send({ type: "stop" });
}

function newChat() {
  stop();
  conversation = freshConversation();
  byId("log").replaceChildren();
  answer = null;
  byId("welcome").hidden = false;
  showButton();
  question.focus();
}

// --- the composer ---

function showButton() {
  const send = byId("send");
  send.classList.toggle("stop", answer !== null);
  send.disabled = answer === null && (!question.value.trim() || !chat?.open);
  const label = answer ? words().stop : words().send;
  send.setAttribute("aria-label", label);
  send.title = label;
  question.placeholder = words().ask;
}

function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function submit() {
  if (answer) {
    stop();
    return;
  }
  if (!chat.open) return; // the text stays until the connection is back
  ask(question.value);
  question.value = "";
  fit();
  showButton();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
question.addEventListener("input", () => {
  fit();
  showButton();
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!answer) submit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && answer && !document.querySelector("dialog[open]")) stop();
});
byId("new-chat").addEventListener("click", newChat);

// --- following the newest text, unless the reader scrolled away ---

function follow() {
  if (following) requestAnimationFrame(() => requestAnimationFrame(() => main.scrollTo({ top: main.scrollHeight })));
}

main.addEventListener("scroll", () => {
  following = main.scrollHeight - main.scrollTop - main.clientHeight < NEAR_END_PX;
  byId("latest").hidden = following;
});
byId("latest").addEventListener("click", () => {
  following = true;
  follow();
});

// --- documents ---

byId("attach").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => {
  upload(event.target.files);
  event.target.value = "";
});
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  byId("drop").hidden = true;
  upload(event.dataTransfer.files);
});

// --- colours and language ---

const THEMES = ["auto", "light", "dark"];

function paintTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").title = words().theme(theme);
  byId("theme").setAttribute("aria-label", words().theme(theme));
}

function storedTheme() {
  try {
    const theme = localStorage.getItem("tars-theme");
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

byId("theme").addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  paintTheme(theme);
  announce(words().theme(theme));
  try {
    localStorage.setItem("tars-theme", theme);
  } catch {
    // not kept, still in force
  }
});
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => speak(button.dataset.language));
}

function showIdeas() {
  const ideas = words().ideas.map((text) => el("li", {}, el("button", { type: "button", click: () => ask(text) }, text)));
  byId("ideas").replaceChildren(...ideas);
}

function showWords() {
  showIdeas();
  showConnection(byId("connection").dataset.state ?? "connecting");
  paintTheme(document.documentElement.dataset.theme ?? storedTheme());
}

// --- signing in, where the node is reached over the network ---

function signIn() {
  const dialog = byId("sign-in");
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    byId("sign-in-form").onsubmit = async (event) => {
      event.preventDefault();
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ token: byId("token").value });
      const response = await fetch("/api/session", { method: "POST", headers, body }).catch(() => null);
      byId("sign-in-wrong").textContent = response?.ok ? "" : response ? words().wrongToken : words().lost;
      if (!response?.ok) return;
      dialog.close();
      chat.hurry();
      resolve();
    };
  });
}
byId("sign-in").addEventListener("cancel", (event) => event.preventDefault());

translate();
onLanguage(showWords);
showWords();
fit();
watchMembers({ silent: () => chat.drop(), locked: signIn });
