// The colours that the visitor chose, before the page is painted. No module, because modules run after that.
try {
  document.documentElement.dataset.theme = localStorage.getItem('glimpse-theme') ?? 'auto'
} catch {
  // The browser keeps nothing for this page: its own setting decides.
}
