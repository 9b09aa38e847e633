// Python in a worker, so that the page stays answerable. All is loaded before the first answer, and
// nothing after it. page.mjs starts this from a blob: address, for the page's policy to bind it.
import { loadPyodide } from "./pyodide/pyodide.mjs";
import { Language, Parser } from "./bash/web-tree-sitter.js";

const here = (path) => new URL(path, import.meta.url).href;
const bytes = async (path) => new Uint8Array(await (await fetch(here(path))).arrayBuffer());
const PATIENCE = 4000; // turns of the parser, some seconds of work: a clock would count a busy machine's pauses

async function bash() {
  await Parser.init({ locateFile: () => here("bash/web-tree-sitter.wasm") });
  const parser = new Parser();
  parser.setLanguage(await Language.load(await bytes("bash/tree-sitter-bash.wasm")));
  return { parse: (text) => JSON.stringify(parse(parser, text)) };
}

// The rows that grammar.py makes a tree of; of no script at all, which takes for ever, none.
function parse(parser, text) {
  let turns = 0;
  let tree = parser.parse(text, null, { progressCallback: () => (turns += 1) > PATIENCE });
  const isWhole = tree !== null;
  if (!isWhole) {
    parser.reset();
    tree = parser.parse("");
  }
  const rows = [];
  const cursor = tree.walk();
  for (let depth = 0; depth >= 0; ) {
    const node = cursor.currentNode;
    const bits = (node.isNamed ? 1 : 0) | (node.isMissing ? 2 : 0) | (node.hasError ? 4 : 0);
    rows.push([depth, node.type, node.startIndex, node.endIndex, node.startPosition.row, bits, cursor.currentFieldName]);
    if (cursor.gotoFirstChild()) depth += 1;
    else {
      while (depth >= 0 && !cursor.gotoNextSibling()) {
        depth -= 1;
        if (!cursor.gotoParent()) depth = -1;
      }
    }
  }
  cursor.delete();
  tree.delete();
  return { rows, is_whole: isWhole };
}

async function start() {
  const parts = Promise.all([bytes("app.zip"), bytes("pydantic_core.whl"), bash()]);
  const python = await loadPyodide({ indexURL: here("./pyodide/") });
  const [app, core, grammar] = await parts;
  for (const archive of [app, core]) python.unpackArchive(archive, "zip", { extractDir: "/app" });
  python.registerJsModule("glm5_bash", grammar);
  python.runPython("import sys; sys.path.insert(0, '/app')");
  return python;
}

const started = start();
const asking = started.then((python) => python.pyimport("ask"));
onmessage = async ({ data: { id, command, pasted, words } }) => {
  try {
    const [python, module] = await Promise.all([started, asking]);
    const since = performance.now();
    const [texts, options] = [python.toPy(pasted), python.toPy(words)];
    const answer = module.ask(command, texts, options);
    for (const proxy of [texts, options]) proxy.destroy();
    postMessage({ id, answer: JSON.parse(answer), ms: Math.round(performance.now() - since) });
  } catch (error) {
    const fix = "load the page again; a browser without WebAssembly cannot run it";
    postMessage({ id, answer: { error: String(error), fix }, ms: 0 });
  }
};
postMessage({ id: 0 });
