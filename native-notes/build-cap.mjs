// Builds the npm package cap 0.2.1 with cap-0.2.1.patch, which lies beside this file.
//
//   node native-notes/build-cap.mjs           build, unless it is built already
//   node native-notes/build-cap.mjs --check   exit 0 if it is built, 1 if not
//
// The sources of cap stay as they are: the patch is applied to a copy, which is built beside them.
// Only an addon that a child process could load replaces build/Release/cap.node; an addon that was
// built without the patch stays in place until then. Several runs at once do not disturb each other.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSION = '0.2.1';
const here = dirname(fileURLToPath(import.meta.url));
const patchFile = join(here, `cap-${VERSION}.patch`);
const isPostinstall = process.env.npm_lifecycle_event === 'postinstall';

class Failure extends Error {}

/** cap beside the project's other dependencies: in its node_modules, or in one that holds the project. */
function findCap(project) {
  const candidates = [join(project, 'node_modules')];
  for (let dir = dirname(project); dir !== dirname(dir); dir = dirname(dir)) {
    if (basename(dir) === 'node_modules') candidates.push(dir);
  }
  const found = candidates.find((dir) => fs.existsSync(join(dir, 'cap', 'package.json')));
  return found === undefined ? undefined : fs.realpathSync(join(found, 'cap'));
}

/** A diff without context lines, as {path, hunks}, one for each file. */
function parsePatch(text) {
  const files = [];
  let hunk;
  for (const line of text.split('\n')) {
    const header = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (header) {
      const [oldLine, oldCount = 1, newLine, newCount = 1] = header.slice(1).map((n) => n && +n);
      hunk = { oldLine, oldCount, newLine, newCount, removed: [], added: [] };
      files.at(-1).hunks.push(hunk);
    } else if (hunk && line[0] === '-' && hunk.removed.length < hunk.oldCount) {
      hunk.removed.push(line.slice(1));
    } else if (hunk && line[0] === '+' && hunk.added.length < hunk.newCount) {
      hunk.added.push(line.slice(1));
    } else if (line.startsWith('+++ b/')) {
      files.push({ path: line.slice('+++ b/'.length), hunks: [] });
      hunk = undefined;
    } else if (line !== '' && !line.startsWith('--- ')) {
      throw new Failure(`cannot read the patch: "${line}"`);
    }
  }
  const isWhole = (h) => h.removed.length === h.oldCount && h.added.length === h.newCount;
  if (!files.every((file) => file.hunks.every(isWhole))) throw new Failure('the patch is incomplete');
  return files;
}

const reverse = (hunk) => ({
  oldLine: hunk.newLine,
  oldCount: hunk.newCount,
  removed: hunk.added,
  added: hunk.removed,
});

/** The lines with the hunks applied, or undefined if a line to remove is not what the patch says. */
function applyHunks(lines, hunks) {
  const result = [];
  let next = 0;
  for (const hunk of hunks) {
    // A hunk that only inserts names the line to insert after.
    const start = hunk.oldCount === 0 ? hunk.oldLine : hunk.oldLine - 1;
    if (start < next || start > lines.length) return undefined;
    result.push(...lines.slice(next, start), ...hunk.added);
    next = start + hunk.oldCount;
    if (hunk.removed.some((line, i) => lines[start + i] !== line)) return undefined;
  }
  return [...result, ...lines.slice(next)];
}

function patched(text, file) {
  const lines = text.split('\n');
  if (applyHunks(lines, file.hunks.map(reverse))) return text;
  const result = applyHunks(lines, file.hunks);
  if (!result) throw new Failure(`${file.path} of cap is not the one of ${VERSION}; it is left as it is`);
  return result.join('\n');
}

function findNodeGyp() {
  const onPath = (name) =>
    (process.env.PATH ?? '')
      .split(':')
      .filter((dir) => dir !== '')
      .map((dir) => join(dir, name))
      .filter((file) => fs.existsSync(file))
      .map((file) => fs.realpathSync(file));
  const besideNpm = (npmCli) => join(dirname(npmCli), '../node_modules/node-gyp/bin/node-gyp.js');
  const candidates = [
    process.env.npm_config_node_gyp,
    process.env.npm_execpath && besideNpm(process.env.npm_execpath),
    ...onPath('npm').map(besideNpm),
    join(dirname(process.execPath), '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js'),
    '/usr/share/nodejs/node-gyp/bin/node-gyp.js',
    ...onPath('node-gyp'),
  ];
  const found = candidates.find((file) => file && fs.existsSync(file));
  if (!found) throw new Failure('node-gyp, which comes with npm, is not found');
  return found;
}

/**
 * node-gyp's environment. Node's own headers are used where they lie beside it; node-gyp fetches them from the network
 * otherwise, or npm's configuration says where they are.
 */
function gypEnvironment() {
  const env = { ...process.env, npm_config_loglevel: 'error' };
  const prefix = dirname(dirname(process.execPath));
  const include = join(prefix, 'include/node');
  if (!fs.existsSync(join(include, 'node.h'))) return env;
  const header = fs.readFileSync(join(include, 'node_version.h'), 'utf8');
  const abi = /#define NODE_MODULE_VERSION (\d+)/.exec(header)?.[1];
  if (abi !== process.versions.modules) return env;
  // Not --nodedir: npm's setting, which may be for another Node, goes before it.
  for (const name of Object.keys(env)) if (/^npm_.*_nodedir$/i.test(name)) delete env[name];
  return { ...env, npm_config_nodedir: prefix };
}

/** In a child process: a library that is missing or damaged must not end this one. */
function loads(addon) {
  const script = 'process.exit(typeof require(process.argv[1]).Cap.prototype.stats === "function" ? 0 : 1)';
  return spawnSync(process.execPath, ['-e', script, addon], { stdio: 'ignore' }).status === 0;
}

function build(cap, patch, stamp) {
  const version = JSON.parse(fs.readFileSync(join(cap, 'package.json'), 'utf8')).version;
  if (version !== VERSION) throw new Failure(`the patch is for cap ${VERSION}, and ${version} is installed`);
  const files = parsePatch(patch);
  // Inside cap, so that its binding.gyp finds nan.
  const copy = fs.mkdtempSync(join(cap, '.patched-'));
  const removeCopy = () => fs.rmSync(copy, { recursive: true, force: true });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      removeCopy();
      process.exit(1);
    });
  }
  try {
    for (const name of ['binding.gyp', 'package.json', 'src']) {
      fs.cpSync(join(cap, name), join(copy, name), { recursive: true });
    }
    for (const file of files) {
      const text = patched(fs.readFileSync(join(cap, file.path), 'utf8'), file);
      fs.writeFileSync(join(copy, file.path), text);
    }
    const gyp = spawnSync(process.execPath, [findNodeGyp(), 'rebuild'], {
      cwd: copy,
      encoding: 'utf8',
      env: gypEnvironment(),
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const built = join(copy, 'build/Release/cap.node');
    if (gyp.status !== 0 || !fs.existsSync(built)) {
      if (!isPostinstall) {
        process.stderr.write(`${(gyp.stdout + gyp.stderr).trimEnd().split('\n').slice(-20).join('\n')}\n`);
      }
      throw new Failure(`the native build failed; it needs: ${packages()}`);
    }
    if (!loads(built)) throw new Failure('the built addon cannot be loaded');
    fs.mkdirSync(join(cap, 'build/Release'), { recursive: true });
    fs.renameSync(built, join(cap, 'build/Release/cap.node'));
    fs.writeFileSync(stamp.file, stamp.text);
  } finally {
    removeCopy();
  }
}

function packages() {
  let release = '';
  try {
    release = fs.readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Debian's names, then.
  }
  if (/^ID(_LIKE)?=.*(fedora|rhel)/m.test(release)) return 'dnf install libpcap-devel gcc-c++ make python3';
  if (/^ID(_LIKE)?=.*alpine/m.test(release)) return 'apk add libpcap-dev g++ linux-headers make python3';
  return 'apt install libpcap-dev g++ make python3';
}

function main() {
  const isCheck = process.argv.includes('--check');
  try {
    const cap = findCap(dirname(here));
    if (cap === undefined) {
      if (isPostinstall) return 0;
      throw new Failure('the npm package cap is not installed (it is an optional dependency)');
    }
    const patch = fs.readFileSync(patchFile, 'utf8');
    const hash = createHash('sha256').update(patch).digest('hex');
    const stamp = {
      file: join(cap, 'build/patched'),
      text: `node ABI ${process.versions.modules}, ${process.arch}, patch ${hash}\n`,
    };
    const isBuilt =
      fs.existsSync(stamp.file) &&
      fs.readFileSync(stamp.file, 'utf8') === stamp.text &&
      loads(join(cap, 'build/Release/cap.node'));
    if (isCheck) return isBuilt ? 0 : 1;
    if (!isBuilt) build(cap, patch, stamp);
    return 0;
  } catch (error) {
    const reason = error instanceof Failure ? error.message : String(error);
    process.stderr.write(`udpicmp-watch: the patched cap, which live capture uses, is not built: ${reason}\n`);
    return isPostinstall ? 0 : 1;
  }
}

process.exitCode = main();
