// Read by tex-svg-full.js, which holds all its fonts and extensions: with its menu off,
// it loads nothing more.
window.MathJax = {
  tex: {
    inlineMath: [["$", "$"], ["\\(", "\\)"]],
    displayMath: [["$$", "$$"], ["\\[", "\\]"]],
    processEscapes: true,
    tags: "ams",
  },
  options: { enableMenu: false },
  startup: {
    ready() {
      MathJax.startup.defaultReady();
      // ipywidgets asks for the mathematics in its labels as MathJax 2 wanted it.
      MathJax.Hub = { Queue: ([, , label]) => MathJax.typesetPromise([label]) };
    },
  },
};
