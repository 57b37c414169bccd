// The tape as a sequence of steps: 0 is the start, then each record, the seed, each visited node.
const tape = (() => {
  const { data } = page;
  const last = data.turn + data.steps.length;
  const stepOf = { forward: [], backward: [] };         // node -> step
  data.nodes.forEach((n, k) => { if (!n.leaf) stepOf.forward[k] = k - data.leaves + 1; });
  data.steps.forEach((s, k) => { stepOf.backward[s.node] = data.turn + 1 + k; });

  // What arrives at each output of each node: [{from, value, total, added}].
  const arrivals = new Map();
  data.steps.forEach(s => (s.results || []).forEach(r => {
    const key = `${r.node}.${r.output}`;
    if (!arrivals.has(key)) arrivals.set(key, []);
    arrivals.get(key).push({ from: s.node, ...r });
  }));

  function at(k) {
    if (k === 0) return { phase: "start" };
    if (k < data.turn) return { phase: "forward", node: data.leaves + k - 1 };
    if (k === data.turn) return { phase: "seed", node: data.rootNode };
    const step = data.steps[k - data.turn - 1];
    return { phase: "backward", node: step.node, step };
  }

  const born = new Map(), gone = new Map();              // step -> arrays
  const note = (map, k, a) => map.set(k, [...(map.get(k) || []), a]);
  data.arrays.forEach(a => { note(born, a.born, a); if (a.last < last) note(gone, a.last, a); });
  const arrays = {
    born: k => born.get(k) || [],
    freed: k => gone.get(k) || [],
    alive: k => data.arrays.filter(a => a.born <= k && k <= a.last),
  };

  const bytesAt = k => ["saved", "output", "gradient"].reduce((sum, kind) => sum + data.training[kind][k], 0);
  const inferenceAt = k => (k < data.inference.length ? data.inference[k] : 0);
  const most = list => list.reduce((a, v) => Math.max(a, v), 0);
  const peak = { training: 0, inference: most(data.inference) };
  for (let k = 0; k <= last; k++) peak.training = Math.max(peak.training, bytesAt(k));

  // `#9 tanh`, `y = multiply`, `w`.
  function label(k) {
    const n = data.nodes[k];
    if (n.leaf) return n.name;
    return n.name.startsWith("#") ? `${n.name} ${n.op}` : `${n.name} = ${n.op}`;
  }
  function output(k, index) {
    const n = data.nodes[k];
    return n.outputs.length > 1 ? `${label(k)}, output ${index}` : label(k);
  }

  // Rows of the list: leaves, then records in order, under headers for each run of a module path.
  function rows(folded) {
    const found = [], open = [];
    let run = 0;
    data.nodes.forEach((n, k) => {
      const parts = n.leaf ? ["leaves"] : n.path ? n.path.split(".") : [];
      let same = 0;
      while (same < open.length && same < parts.length && open[same].part === parts[same]) same++;
      open.length = same;
      for (let d = same; d < parts.length; d++) {
        const header = { header: true, key: `${run++}`, part: parts[d], depth: d, count: 0, first: k,
          title: n.leaf ? "leaves" : parts.slice(0, d + 1).join(".") };
        header.hidden = open.some(h => folded.has(h.key));
        found.push(header);
        open.push(header);
      }
      open.forEach(h => { h.count++; h.end = k; });
      found.push({ node: k, depth: parts.length, hidden: open.some(h => folded.has(h.key)) });
    });
    return found.filter(r => !r.hidden);
  }

  return { last, at, stepOf, arrivals, arrays, bytesAt, inferenceAt, peak, label, output, rows };
})();
