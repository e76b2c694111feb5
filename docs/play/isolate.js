// A service worker that has the page isolated from other origins, as browsers ask before they let
// WebAssembly run several threads. A server could say so in two headers, but a plain one for files
// does not, so this adds them to all that comes from the page's own folder.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (new URL(event.request.url).origin === location.origin) event.respondWith(isolated(event.request));
});

async function isolated(request) {
  const response = await fetch(request);
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const bodiless = [204, 205, 304].includes(response.status);
  const { status, statusText } = response;
  return new Response(bodiless ? null : response.body, { status, statusText, headers });
}
