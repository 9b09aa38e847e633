// The page: what is pasted goes to the worker, what it says is drawn. Nothing is kept, and nothing
// is asked of any address once all is loaded.
import { drawn, el, refused } from "./draw.mjs";
import { LONGEST, read, written } from "./link.mjs";

const at = (id) => document.getElementById(id);
const MOST = 64 << 20; // bytes of all that is judged at once

// -- Python --------------------------------------------------------------------------------------

// A worker that is loaded from an address follows the policy that its response sends, and a static
// host sends none; one from a blob: address has this page's: it can ask no other address, either.
// It imports by a call: `worker-src blob:` forbids an import statement. It says when it listens.
const source = `import(${JSON.stringify(new URL("worker.mjs", location.href).href)});`;
const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
const waiting = new Map();
const listens = new Promise((done) => waiting.set(0, done));
let asked = 0;
worker.onmessage = ({ data }) => {
  waiting.get(data.id)?.(data);
  waiting.delete(data.id);
};
worker.onerror = () => say("The page could not be loaded: serve it over http, with all of its files.");

/** What a command says of texts by their names: {told} or {error, fix}, and ms. */
async function ask(command, pasted = {}, words = {}) {
  await listens;
  return new Promise((done) => {
    waiting.set((asked += 1), ({ answer, ms }) => done({ ...answer, ms }));
    worker.postMessage({ id: asked, command, pasted, words });
  });
}

// -- what was pasted -----------------------------------------------------------------------------

const files = new Map();
const say = (text) => { at("state").textContent = text; };

function texts() {
  const pasted = Object.fromEntries(files);
  if (at("text").value.trim()) pasted["this text"] = new TextEncoder().encode(at("text").value);
  return pasted;
}

async function open(list) {
  for (const file of list) {
    const size = [...files.values()].reduce((sum, one) => sum + one.length, file.size);
    if (size > MOST) {
      show(refused({ error: `${file.name}: more than ${MOST >> 20} MiB together`, fix: "open the end of the log, or fewer files" }));
      break;
    }
    files.set(file.name, new Uint8Array(await file.arrayBuffer()));
  }
  opened();
}

function opened() {
  at("opened").replaceChildren(...[...files].map(([name, data]) => el("button", {
    type: "button", "aria-label": `leave out ${name}`, onclick: () => { files.delete(name); opened(); },
  }, `${name}, ${Math.ceil(data.length / 1024)} KiB ✕`)));
}

// -- judging -------------------------------------------------------------------------------------

const WORDS = {
  lint: () => ({ gpu: at("gpu").value, release: at("release").value.trim(), every: at("every").checked }),
  diagnose: () => ({}),
  doctor: () => ({ profile: at("profile").value }),
  fit: () => ({ profile: at("profile").value, release: at("release").value.trim() }),
};
const NAMES = { lint: "a launch", diagnose: "a log", doctor: "a host", fit: "a host" };

function show(elements, told = null) {
  at("drawn").replaceChildren(...elements);
  at("raw").hidden = told === null;
  at("raw").querySelector("pre").textContent = told === null ? "" : JSON.stringify(told, null, 1);
  at("verdict").hidden = false;
}

let latest = 0;
async function judge() {
  const run = (latest += 1);
  const pasted = texts();
  if (!Object.keys(pasted).length) {
    say("Nothing is pasted.");
    at("text").focus();
    return;
  }
  say("judging …");
  const chosen = at("kind").value;
  const guess = chosen === "auto" ? await ask("kind", pasted) : { told: chosen };
  const command = guess.told ?? "lint";
  const answer = guess.error ? guess : await ask(command, pasted, WORDS[command]());
  if (run !== latest) return; // another one was asked for meanwhile
  at("verdict-title").textContent = `Verdict: ${NAMES[command]} (${command})`;
  if (answer.error) {
    show(refused(answer));
    say(`error: ${answer.error}`);
  } else {
    const [elements, inShort] = drawn(command, answer.told);
    show(elements, answer.told);
    say(`${chosen === "auto" ? `looks like ${NAMES[command]}: ` : ""}${inShort} (${(answer.ms / 1000).toFixed(2)} s)`);
  }
  at("verdict-title").scrollIntoView();
}

function onlyWhatMatters() {
  const kind = at("kind").value;
  for (const part of document.querySelectorAll("[data-of]"))
    part.hidden = kind !== "auto" && !part.dataset.of.split(" ").includes(kind);
}

// -- links ---------------------------------------------------------------------------------------

async function share() {
  const answer = await ask("shareable", texts());
  if (answer.error) return show(refused(answer));
  const said = { kind: at("kind").value, gpu: at("gpu").value, profile: at("profile").value, release: at("release").value, every: at("every").checked, text: answer.told };
  const fragment = await written(said);
  if (fragment.length > LONGEST) {
    const error = `the text would take ${fragment.length} characters of a link, at most ${LONGEST} are made`;
    show(refused({ error, fix: "keep the lines that matter: the command alone, or the end of the log" }));
    return say(`error: ${error}`);
  }
  at("link-said").textContent = `${answer.told.length} characters of text, ${fragment.length} in the link.`;
  at("link-text").value = answer.told;
  at("link-address").value = location.href.split("#")[0] + fragment;
  at("link-state").textContent = "";
  at("link").showModal();
}

async function fromLink() {
  if (!location.hash) return;
  try {
    const said = await read(location.hash);
    if (!said) return;
    files.clear();
    opened();
    at("text").value = String(said.text);
    for (const name of ["kind", "gpu", "profile"]) if ([...at(name).options].some((one) => one.value === said[name])) at(name).value = said[name];
    at("release").value = String(said.release ?? "");
    at("every").checked = said.every === true;
    onlyWhatMatters();
    await judge();
  } catch (error) {
    show(refused({ error: `the link is broken: ${error.message}`, fix: "ask for it again: it may have been cut" }));
  }
}

// ------------------------------------------------------------------------------------------------

at("form").onsubmit = (event) => { event.preventDefault(); judge(); };
at("form").onkeydown = (event) => { if (event.ctrlKey && event.key === "Enter") { event.preventDefault(); at("form").requestSubmit(at("go")); } };
at("kind").onchange = onlyWhatMatters;
at("files").onchange = async () => { await open(at("files").files); at("files").value = ""; };
at("share").onclick = share;
at("link-close").onclick = () => at("link").close();
at("link-copy").onclick = async () => {
  await navigator.clipboard.writeText(at("link-address").value);
  at("link-state").textContent = "Copied.";
};
function clear() {
  files.clear();
  opened();
  at("form").reset();
  onlyWhatMatters();
  at("verdict").hidden = true;
}
at("clear").onclick = () => {
  clear();
  say("ready");
  at("text").focus();
};
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("dropping"); };
document.ondragleave = () => document.body.classList.remove("dropping");
document.ondrop = async (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  await open(event.dataTransfer.files);
  if (event.dataTransfer.files.length && !at("go").disabled) judge();
};
window.onhashchange = fromLink;

// The examples come with the page, so that none is asked for later.
const examples = new Map();
for (const button of document.querySelectorAll("[data-example]")) {
  const name = button.dataset.example;
  examples.set(name, fetch(`examples/${name}`).then((answer) => answer.text()));
  button.onclick = async () => {
    clear();
    at("text").value = await examples.get(name);
    at("gpu").value = button.dataset.gpu ?? "";
    if (!at("go").disabled) judge();
  };
}

const first = await ask("choices");
await Promise.all(examples.values());
if (first.error) say(`error: ${first.error}. ${first.fix}`);
else {
  at("gpu").append(...first.told.gpus.map((name) => el("option", {}, name)));
  at("profile").append(...first.told.profiles.map((name) => el("option", {}, name)));
  at("go").disabled = at("share").disabled = false;
  say(`ready after ${(performance.now() / 1000).toFixed(1)} s; the network may go now`);
  window.playground = { ask, ready: Math.round(performance.now()) }; // for tests, and who is curious
  await fromLink();
}
