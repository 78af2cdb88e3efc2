/** The five likeliest, `[id, probability]`. */
export function top5(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  const best = [];
  logits.forEach((logit, id) => {
    if (best.length < 5 || logit > best[4][1]) {
      best.push([id, logit]);
      best.sort((a, b) => b[1] - a[1]);
      best.splice(5);
    }
  });
  return best.map(([id, logit]) => [id, Math.exp(logit - largest) / sum]);
}
