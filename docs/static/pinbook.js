// Keys can scroll only what can have the focus: code and tables that are wider than the page.
const fit = () => {
  for (const part of document.querySelectorAll("article pre, article .table-wrapper")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
};
addEventListener("load", fit);
addEventListener("resize", fit);
