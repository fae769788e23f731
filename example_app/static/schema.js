// Swagger UI, told where the document is.
const place = document.getElementById("schema");
SwaggerUIBundle({ domNode: place, url: place.dataset.document, deepLinking: true });
