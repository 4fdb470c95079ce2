// The recommendation of plan.py --recommend, from rows of candidates. A function of its arguments, without the page.
const decisions = (() => {
  // A candidate's hours on all devices, and the memory of the smallest card that holds it, as it would be trained.
  // at: rate [FLOP/s], bandwidth [byte/s], memory [byte], devices, hours, object and image [px].
  function costed(row, at) {
    const plain = row.need <= at.memory;
    const hours = (row.products / at.rate + row.traffic / at.bandwidth) / at.devices * (plain ? 1 : 4 / 3);
    return {
      ...row, hours, spans: at.object * row.image / at.image / row.patch, checkpointing: !plain,
      card: plain ? row.need : row.recomputed,
    };
  }

  // The one with the lowest predicted error, the first of equal ones.
  function best(among) {
    return among.reduce((least, one) => (least === null || one.error < least.error ? one : least), null);
  }

  // needed: patches that the object spans; rules: factors of the limits that are tried, and `alike`, the factor between
  // excesses that make no difference.
  function recommend(rows, at, needed, rules) {
    const every = rows.map((row) => costed(row, at)).filter((one) => !at.object || one.spans >= needed);
    const within = (factor) => every.filter((one) => one.hours <= factor * at.hours && one.card <= factor * at.memory);
    const answer = best(within(1));
    if (answer === null) {
      const excess = every.map((one) => Math.max(one.hours / at.hours, one.card / at.memory, 1));
      const nearest = every.find((_, n) => excess[n] <= rules.alike * Math.min(...excess));
      return {answer, nearest: nearest || null, cheaper: null, dearer: null, factor: null};
    }
    const factor = rules.factors.find((one) => best(within(one)).error < answer.error) || null;
    return {
      answer, nearest: null, cheaper: best(within(1).filter((one) => one.hours <= answer.hours / 2)),
      dearer: factor && best(within(factor)), factor,
    };
  }

  return {recommend};
})();
