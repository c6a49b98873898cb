// What the page says, in each language; a new language is one more table and one more button in index.html.

const ENGLISH = {
  skip: "Skip to the question",
  newChat: "New chat",
  language: "Language",
  theme: (now) => `Colours: ${{ auto: "as the device", light: "light", dark: "dark" }[now]}`,
  memory: "Memory",
  memories: "Memories",
  memorySearch: "Search what I remember",
  memoryAdd: "Something to remember…",
  memorySave: "Remember",
  projects: "Projects",
  project: "Project of this chat",
  diary: "Diary",
  sort: "Sort",
  whose: "Who may see it",
  automatic: "Learn about me by itself",
  exportJson: "Export (JSON)",
  exportText: "Export (Markdown)",
  importFile: "Import",
  temporary: "Temporary",
  temporaryMore: "Temporary chat: nothing of it is remembered or written",
  members: "Computers",
  conversation: "Conversation",
  documents: "Documents",
  welcome: "What would you like to know?",
  welcomeMore: "I answer from your own documents, on your own computers. Nothing leaves your home.",
  ideas: ["What do my documents say about the heating?", "What have I to pay, and when?", "What is a heat pump? Explain it in two sentences."],
  latest: "Latest",
  attach: "Add documents",
  ask: "Ask TARS…",
  send: "Send",
  stop: "Stop the answer",
  fine: "TARS can be wrong. Check its sources.",
  drop: "Drop documents to read them in",
  close: "Close",
  signIn: "Sign in",
  signInMore: "This computer is reached over the network. Enter its access token (access.token in its data folder).",
  token: "Access token",
  wrongToken: "That is not this computer's access token.",
  connecting: "connecting…",
  connected: (node) => `on ${node}`,
  lost: "connection lost, trying again…",
  moved: (lost, node) => `${lost} does not answer; ${node} goes on`,
  seeking: "Looking for a computer that goes on…",
  you: "You",
  thinking: "Thinking…",
  reading: "Reading your documents…",
  writing: "Writing…",
  sources: (n) => (n === 1 ? "1 source" : `${n} sources`),
  page: (n) => `page ${n}`,
  source: (n) => `Source ${n}`,
  answeredBy: (node) => `answered by ${node}`,
  preparedBy: (node) => `prepared by ${node}`,
  seconds: (s) => `${s.toFixed(1)} s`,
  speed: (n) => `${n.toFixed(0)} tokens/s`,
  passagesOnly: "No computer can write an answer right now. These are the best passages.",
  limits: {
    max_tokens: "The answer was ended at its length limit.",
    context: "The answer was ended: the model can hold no more text at once.",
    deadline: "The answer was ended: its time ran out.",
  },
  degraded: "Not at its best",
  stopped: "Stopped",
  cut: "The connection was lost, and no other computer could go on; this answer is cut off.",
  failed: "That did not work",
  retryIn: (s) => `Try again in ${Math.ceil(s)} s.`,
  again: "Ask again",
  copy: "Copy",
  copied: "Copied",
  done: "Answer complete",
  stages: { waiting: "waiting", uploading: "sending", queued: "waiting", parsing: "reading", embedding: "indexing", done: "ready", duplicate: "known already", failed: "failed" },
  pages: (done, total) => `${done} of ${total}`,
  passages: (n) => (n === 1 ? "1 passage" : `${n} passages`),
  dismiss: (file) => `Dismiss ${file}`,
  tooMany: (n) => (n === 1 ? "1 document was left out: too many at once. Add it again later." : `${n} documents were left out: too many at once. Add them again later.`),
  uploadLost: "The connection was lost while sending.",
  states: { alive: "there", suspect: "not answering", dead: "gone", left: "switched off" },
  thisOne: "this one",
  can: { chat: "writes answers", search: "searches", ingest: "reads documents", embed: "compares meanings", prepare: "plans", summarize: "summarises", remember: "remembers", records: "keeps memory", nightly: "tidies up", status: "", recall: "", jobs: "" },
  nothing: "helps out",
  busy: (n) => `${n} at work`,
  zoneLab: "lab",
};

const SPANISH = {
  skip: "Ir a la pregunta",
  newChat: "Nuevo chat",
  language: "Idioma",
  theme: (now) => `Colores: ${{ auto: "como el dispositivo", light: "claros", dark: "oscuros" }[now]}`,
  memory: "Memoria",
  memories: "Recuerdos",
  memorySearch: "Buscar en lo que recuerdo",
  memoryAdd: "Algo que recordar…",
  memorySave: "Recordar",
  projects: "Proyectos",
  project: "Proyecto de este chat",
  diary: "Diario",
  sort: "Clase",
  whose: "Quién puede verlo",
  automatic: "Aprender sobre mí por su cuenta",
  exportJson: "Exportar (JSON)",
  exportText: "Exportar (Markdown)",
  importFile: "Importar",
  temporary: "Temporal",
  temporaryMore: "Chat temporal: no se recuerda ni se escribe nada de él",
  members: "Ordenadores",
  conversation: "Conversación",
  documents: "Documentos",
  welcome: "¿Qué quieres saber?",
  welcomeMore: "Respondo a partir de tus documentos, en tus propios ordenadores. Nada sale de tu casa.",
  ideas: ["¿Qué dicen mis documentos sobre la calefacción?", "¿Qué tengo que pagar, y cuándo?", "¿Qué es una bomba de calor? Explícalo en dos frases."],
  latest: "Lo último",
  attach: "Añadir documentos",
  ask: "Pregunta a TARS…",
  send: "Enviar",
  stop: "Detener la respuesta",
  fine: "TARS puede equivocarse. Comprueba sus fuentes.",
  drop: "Suelta documentos para que los lea",
  close: "Cerrar",
  signIn: "Entrar",
  signInMore: "Se llega a este ordenador por la red. Escribe su clave de acceso (access.token en su carpeta de datos).",
  token: "Clave de acceso",
  wrongToken: "Esa no es la clave de acceso de este ordenador.",
  connecting: "conectando…",
  connected: (node) => `en ${node}`,
  lost: "sin conexión, reintentando…",
  moved: (lost, node) => `${lost} no responde; sigue ${node}`,
  seeking: "Buscando un ordenador que siga…",
  you: "Tú",
  thinking: "Pensando…",
  reading: "Leyendo tus documentos…",
  writing: "Escribiendo…",
  sources: (n) => (n === 1 ? "1 fuente" : `${n} fuentes`),
  page: (n) => `página ${n}`,
  source: (n) => `Fuente ${n}`,
  answeredBy: (node) => `respondido por ${node}`,
  preparedBy: (node) => `preparado por ${node}`,
  seconds: (s) => `${s.toFixed(1).replace(".", ",")} s`,
  speed: (n) => `${n.toFixed(0)} tokens/s`,
  passagesOnly: "Ningún ordenador puede redactar una respuesta ahora. Estos son los mejores pasajes.",
  limits: {
    max_tokens: "La respuesta terminó en su límite de longitud.",
    context: "La respuesta se cortó: al modelo no le cabe más texto a la vez.",
    deadline: "La respuesta se cortó: se acabó su tiempo.",
  },
  degraded: "No está al completo",
  stopped: "Detenido",
  cut: "Se perdió la conexión y ningún otro ordenador pudo seguir; esta respuesta está cortada.",
  failed: "No ha funcionado",
  retryIn: (s) => `Inténtalo de nuevo en ${Math.ceil(s)} s.`,
  again: "Preguntar otra vez",
  copy: "Copiar",
  copied: "Copiado",
  done: "Respuesta completa",
  stages: { waiting: "en espera", uploading: "enviando", queued: "en espera", parsing: "leyendo", embedding: "indexando", done: "listo", duplicate: "ya conocido", failed: "fallido" },
  pages: (done, total) => `${done} de ${total}`,
  passages: (n) => (n === 1 ? "1 pasaje" : `${n} pasajes`),
  dismiss: (file) => `Quitar ${file}`,
  tooMany: (n) => (n === 1 ? "1 documento se ha quedado fuera: son demasiados a la vez. Añádelo de nuevo más tarde." : `${n} documentos se han quedado fuera: son demasiados a la vez. Añádelos de nuevo más tarde.`),
  uploadLost: "Se perdió la conexión durante el envío.",
  states: { alive: "presente", suspect: "no responde", dead: "perdido", left: "apagado" },
  thisOne: "este",
  can: { chat: "redacta respuestas", search: "busca", ingest: "lee documentos", embed: "compara significados", prepare: "planifica", summarize: "resume", remember: "recuerda", records: "guarda la memoria", nightly: "pone orden", status: "", recall: "", jobs: "" },
  nothing: "echa una mano",
  busy: (n) => `${n} en curso`,
  zoneLab: "laboratorio",
};

const TABLES = { en: ENGLISH, es: SPANISH };

function preferred() {
  const wanted = [stored(), ...(navigator.languages ?? [navigator.language])];
  return wanted.map((tag) => (tag ?? "").slice(0, 2).toLowerCase()).find((code) => code in TABLES) ?? "en";
}

function stored() {
  try {
    return localStorage.getItem("tars-language");
  } catch {
    return null; // storage is refused: the device's language decides
  }
}

let code = preferred();
const listeners = [];

/** The words of the language in force. */
export const words = () => TABLES[code];
export const language = () => code;

/** Change the language and tell everyone who shows words. */
export function speak(wanted) {
  code = wanted in TABLES ? wanted : "en";
  try {
    localStorage.setItem("tars-language", code);
  } catch {
    // not kept, still in force
  }
  translate();
  for (const listener of listeners) listener();
}

/** Call `listener` after each change of language. */
export const onLanguage = (listener) => listeners.push(listener);

/** Put the words into everything in index.html that asks for them. */
export function translate() {
  document.documentElement.lang = code;
  for (const node of document.querySelectorAll("[data-words]")) node.textContent = words()[node.dataset.words];
  for (const node of document.querySelectorAll("[data-words-label]")) {
    node.setAttribute("aria-label", words()[node.dataset.wordsLabel]);
    node.setAttribute("title", words()[node.dataset.wordsLabel]);
  }
  for (const node of document.querySelectorAll("[data-language]")) {
    node.setAttribute("aria-pressed", String(node.dataset.language === code));
  }
}
