// What Python says, drawn: JSON in, elements out. Texts are only ever text, never markup.

/** An element with attributes and children; null and "" are left out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (typeof value === "function") made[name] = value;
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const COLOURS = {
  fine: "good", ok: "good", abbreviated: "good", needless: "odd", inert: "odd", unknown: "odd",
  deprecated: "warn", risky: "warn", warn: "warn",
};
const ORDER = ["unknown", "removed", "ambiguous", "wrong value", "breaks", "conflicts", "risky", "deprecated", "inert", "needless", "abbreviated", "fine"];
const colour = (word) => COLOURS[word] ?? "bad";
const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const labelled = (label, text) => (text ? el("p", {}, el("b", {}, `${label} `), text) : null);
const notes = (told) => told.map((note) => el("p", { class: "quiet" }, note));

function finding(word, title, id, body, kind = colour(word)) {
  const head = el("p", { class: "head" }, el("span", { class: "word" }, word), el("span", {}, title), id ? el("span", { class: "id" }, id) : null);
  return el("article", { class: `finding ${kind}` }, head, body);
}

function table(caption, heads, rows) {
  const cell = (value) => el("td", { class: typeof value === "number" ? "number" : null }, typeof value === "number" ? value.toLocaleString("en") : value);
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map(([first, ...others]) => el("tr", {}, el("th", { scope: "row" }, first), others.map(cell))))));
}

function copyable(text, label) {
  const button = el("button", { type: "button", onclick: async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } }, "Copy");
  return [el("pre", { tabindex: "0", "aria-label": label }, text), el("p", {}, button)];
}

// -- lint ----------------------------------------------------------------------------------------

const ofEntry = (entry) => {
  const remedies = [...new Set(entry.concerns.map((one) => one.instead ?? ""))];
  return finding(entry.verdict + (entry.when ? `, ${entry.when}` : ""), `${entry.name} ${entry.value}`.trim(),
    entry.concerns.map((one) => one.id).filter(Boolean).join(", "),
    remedies.map((remedy) => [
      entry.concerns.filter((one) => (one.instead ?? "") === remedy).map((one) =>
        el("p", {}, one.verdict === entry.verdict || one.why.startsWith(one.verdict) ? "" : `${one.verdict}: `, one.why)),
      labelled("instead", remedy),
    ]).concat(el("p", { class: "quiet" }, `${entry.known}: ${entry.source}`)), colour(entry.verdict));
};

const rank = (entry) => ORDER.indexOf(entry.verdict);

function ofRelease(told) {
  const [said, fine] = [told.entries.filter((one) => one.concerns.length), told.entries.filter((one) => !one.concerns.length)];
  said.sort((one, other) => rank(one) - rank(other));
  return [
    said.map(ofEntry),
    fine.length ? el("details", {}, el("summary", {}, `${fine.length} fine`), el("p", {}, el("code", {}, fine.map((one) => `${one.name} ${one.value}`.trim()).join(", ")))) : null,
  ];
}

function overReleases(launch) {
  const names = Object.keys(launch.releases);
  const flags = new Map();
  for (const name of names)
    for (const entry of launch.releases[name].entries)
      if (entry.concerns.length) {
        const key = `${entry.name} ${entry.value}`.trim();
        flags.set(key, { ...flags.get(key), [name]: entry.verdict });
      }
  const verdict = (word) => el("b", { class: colour(word) }, word);
  return table("What each release makes of it", ["", ...names], [...flags].map(([flag, by]) => [flag, ...names.map((name) => (by[name] ? verdict(by[name]) : "·"))]));
}

function ofFix(fix) {
  if (!fix) return null;
  return el("section", {}, el("h3", {}, "The launch as it should be"),
    fix.obstacles.map((what) => el("p", {}, `no rewrite: ${what}`)),
    fix.changes.length ? el("ul", {}, fix.changes.map((one) => el("li", {},
      one.launch ? `${one.launch}: ` : "", one.old ? el("del", {}, one.old) : "", one.old && one.new ? " " : "", one.new ? el("ins", {}, one.new) : "", `: ${one.why}`))) : null,
    !fix.obstacles.length && !fix.changes.length ? el("p", {}, "Nothing to change.") : null,
    fix.text !== null && fix.changes.length ? copyable(fix.text, "The launch as it should be") : null);
}

function lint(told) {
  return [
    notes(told.unread.map((what) => `not read: ${what}`)),
    told.launches.map((launch) => {
      const names = Object.keys(launch.releases);
      const place = launch.name ? ` (${launch.name}, line ${launch.line})` : "";
      const span = names.length === 1 ? names[0] : `${names[0]} to ${names.at(-1)}`;
      return el("section", {}, el("h3", {}, `${launch.form}${place}, judged for ${span} on ${launch.gpu ?? launch.arch}`),
        notes(launch.notes), names.length === 1 ? ofRelease(launch.releases[names[0]]) : overReleases(launch));
    }),
    ofFix(told.fix),
  ];
}

function inShortLint(told) {
  const words = told.launches.flatMap((launch) => Object.values(launch.releases).at(-1).entries.map((entry) => entry.verdict));
  const counts = ORDER.map((word) => [words.filter((one) => one === word).length, word]).filter(([number]) => number);
  return counts.map(([number, word]) => `${number} ${word}`).join(", ");
}

// -- diagnose ------------------------------------------------------------------------------------

const AGAIN = { never: "no use, the same command fails again", again: "a restart may help", reboot: "no use, reboot first" };

function diagnose(told) {
  const known = told.cause !== "unknown";
  return finding(told.family, known ? `${told.cause}: ${told.what}` : told.what, "", [
    told.evidence.length ? [el("p", {}, el("b", {}, "evidence")), el("pre", { tabindex: "0", "aria-label": "evidence" }, told.evidence.join("\n"))] : null,
    labelled("fix", told.fix), labelled("knob", told.knob),
    known ? [labelled("restart", AGAIN[told.then]), labelled("known", `${told.known} (${told.source})`)] : null,
    labelled("also seen", told.also.join(", ")),
  ], known ? "bad" : "odd");
}

// -- doctor --------------------------------------------------------------------------------------

const SEVERITIES = ["fail", "warn", "unknown", "ok"];

function doctor(told) {
  const by = Object.groupBy(told.findings, (one) => one.severity);
  const drawn = (one) => finding(one.severity + (one.allowed ? ", allowed" : ""), one.title, one.id, [
    el("p", {}, one.evidence), labelled("why", one.why), labelled("fix", one.fix)], colour(one.severity));
  const folded = (word, title) => by[word] ? el("details", {}, el("summary", {}, `${by[word].length} ${title}`), by[word].map(drawn)) : null;
  return [
    el("p", {}, told.observed), el("p", {}, told.profile ? `judged for ${told.profile}` : "judged without a profile: none is for these GPUs"),
    told.fits.map((line) => el("p", {}, `fits ${line}`)),
    (by.fail ?? []).map(drawn), (by.warn ?? []).map(drawn),
    folded("unknown", "unknown: what to paste to know them"), folded("ok", "fine"),
  ];
}

function inShortDoctor(told) {
  const seen = SEVERITIES.map((word) => [told.findings.filter((one) => one.severity === word).length, word]);
  return seen.filter(([number]) => number).map(([number, word]) => `${number} ${word}`).join(", ");
}

// -- fit -----------------------------------------------------------------------------------------

function fit(told) {
  const requests = (by) => Object.entries(by).map(([size, most]) => `${most} of ${Number(size).toLocaleString("en")}`).join(" · ");
  const row = (name, text) => [el("dt", {}, name), el("dd", {}, text)];
  const kinds = told.rows.length ? Object.keys(told.rows[0].tokens) : [];
  return [
    el("p", {}, el("b", { class: told.fits ? "good" : "bad" }, told.fits ? "it fits" : "it does not fit, or would not start")),
    notes(told.notes),
    told.said.map((one) => finding(["ok", "warn", "unknown", "fail"][one.severity] ?? String(one.severity), one.what, "", [labelled("fix", one.fix), el("p", { class: "quiet" }, `${one.known}: ${one.source}`)])),
    el("dl", {}, row("profile", told.profile), row("model", told.model),
      row("GPUs", `${told.gpus} x ${gib(told.memory)}, ${told.gpu ?? told.arch}${told.assumed ? ", assumed" : ""}`),
      row("weights", `${gib(told.weights)} a GPU, ${gib(told.checkpoint)} in all`),
      row("KV cache", `${gib(told.kv)} a GPU: ${told.tokens.toLocaleString("en")} tokens, ${told.layout}`),
      row("left", `${gib(told.left)} of a GPU; ${gib(told.needed)} are needed`),
      row("requests", `${requests(told.requests)} tokens`)),
    Object.keys(told.points).length ? table("At each operating point", ["", "fits", "tokens", "requests at once", "left"],
      Object.entries(told.points).map(([name, one]) => [name + (name === told.point ? " (this one)" : ""), one.fits ? "yes" : "no", one.tokens, one.running, gib(one.left)])) : null,
    told.rows.length ? table("By memory fraction", ["fraction", ...kinds.map((kind) => `tokens, ${kind}`), "left"],
      told.rows.map((one) => [one.fraction.toFixed(2), ...kinds.map((kind) => one.tokens[kind]), gib(one.left)])) : null,
  ];
}

// ------------------------------------------------------------------------------------------------

const DRAWN = {
  lint: [lint, inShortLint],
  diagnose: [(told) => [diagnose(told)], (told) => (told.cause === "unknown" ? told.what : told.cause)],
  doctor: [doctor, (told) => `${told.verdict}: ${inShortDoctor(told)}`],
  fit: [fit, (told) => `${told.profile} ${told.fits ? "fits" : "does not fit"}`],
};

/** The elements of what a command says, and a line of it. */
export const drawn = (command, told) => [DRAWN[command][0](told).flat(Infinity).filter(Boolean), DRAWN[command][1](told)];

/** A refusal, in the command line's two lines. */
export const refused = ({ error, fix }) => [finding("error", error, "", labelled("fix", fix), "bad")];
