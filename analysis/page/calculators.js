// Costs of a classifier from the terms of cost_terms.py. Functions of their arguments, without the page.
const calculators = (() => {
  const LARGEST_PATCH = 128;

  // Patch sizes that tile an image, fine to coarse [px].
  function patches(image) {
    const found = [];
    for (let patch = 1; patch <= Math.min(LARGEST_PATCH, image - 1); patch++) if (image % patch === 0) found.push(patch);
    return found;
  }

  function extraTiles(tokens, width, scan) {
    const longest = Math.max(scan.shortest, Math.floor(scan.elements / (scan.expand * width)));
    return Math.ceil((tokens + 2) / longest) - 1;
  }

  // The value of one cost: a sum of products of powers.
  function value(terms, numbers) {
    let sum = 0;
    for (const [factor, ...powers] of terms) sum += powers.reduce((product, power, n) => product * numbers[n] ** power, factor);
    return sum;
  }

  // Everything that is shown. at: family, image, patch, width, depth, batch, way, images, epochs, rate [TFLOP/s],
  // newImage, newPatch; data: terms and scan.
  function results(at, data) {
    const side = at.image / at.patch, newSide = at.newImage / at.newPatch, tokens = side ** 2;
    const numbers = [tokens, at.width, at.depth, at.patch, extraTiles(tokens, at.width, data.scan)];
    const cost = (name) => value(data.terms[at.family][name], numbers);
    const forward = cost("forward"), memory = cost(`memory_${at.way}`), parameters = cost("parameters");
    const step = data.passes * forward * at.batch;
    return {
      tokens, pairs: cost("pairs"), projection: cost("projection"), parameters,
      memory, activations: memory * at.batch, state: data.state * parameters,
      step, hours: (data.passes * forward * at.images * at.epochs) / (at.rate * 1e12) / 3600,
      side, newSide, newTokens: newSide ** 2, stretch: newSide / side,
    };
  }

  return {patches, results};
})();
