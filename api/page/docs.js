// Shows what the API can be asked, and lets it be asked.

// @ts-expect-error: Swagger UI makes a global of itself.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true });
