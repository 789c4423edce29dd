// What a page refused, by its policy.
window.refused = [];
document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
  window.refused.push(`${effectiveDirective}: ${blockedURI}`);
});
