
/* Draws a chart anew where it comes into sight; until then, on paper and without scripts its still picture stands.
   `ast`: Vega's expressions are interpreted, not compiled, so the page's policy allows no eval. */
(() => {
  const options = {ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: {disableDefaultStyle: true}};
  const draw = figure => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    return vegaEmbed(figure.querySelector(".live"), spec, options)
      .then(() => figure.classList.add("drawn"))
      .catch(error => console.error(error));
  };
  const near = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => {
    near.unobserve(e.target);
    draw(e.target);
  }), {rootMargin: "600px"});
  document.querySelectorAll("figure.chart").forEach(figure => near.observe(figure));

  const links = new Map([...document.querySelectorAll("nav a")].map(a => [a.hash.slice(1), a]));
  const follow = () => {
    const passed = [...document.querySelectorAll("section")].filter(s => s.getBoundingClientRect().top < innerHeight / 3);
    const here = links.get((passed.at(-1) || document.querySelector("section")).id);
    if (here.classList.contains("here")) return;
    links.forEach(a => a.classList.toggle("here", a === here));
    const nav = here.parentElement;
    nav.scrollLeft = here.offsetLeft - nav.offsetLeft - nav.clientWidth / 3;
  };
  addEventListener("scroll", follow, {passive: true});
  follow();
})();
