// A file goes up, its translation comes down.

/** Send the form; `progress(share)` is told how much of it is sent. Resolves to the answer. */
function send(endpoint, form, key, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not say how far it has come
    request.open("POST", endpoint);
    request.responseType = "json";
    if (key) {
      request.setRequestHeader("Authorization", `Bearer ${key}`);
    }
    request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status === 200) {
        resolve(request.response);
      } else {
        reject(new Error(request.response?.detail || "The server gave no reason."));
      }
    });
    request.addEventListener("error", () => reject(new Error("The server cannot be reached. Is it still running?")));
    request.send(form);
  });
}

/** `page` has the elements; `fields()` says source, target and key. */
export function translateFiles(page, endpoint, fields) {
  page.file.addEventListener("change", () => {
    page.send.disabled = page.file.files.length === 0;
    page.result.replaceChildren();
  });
  page.send.addEventListener("click", async () => {
    const file = page.file.files[0];
    const { source, target, key } = fields();
    const form = new FormData();
    form.append("file", file);
    form.append("source", source);
    form.append("target", target);
    page.send.disabled = true;
    page.result.replaceChildren();
    page.progress.hidden = false;
    page.state.textContent = "Sending";
    page.bar.value = 0;
    try {
      const answer = await send(endpoint, form, key, (share) => {
        if (share < 1) {
          page.bar.value = share;
        } else {
          page.state.textContent = "Translating";
          page.bar.removeAttribute("value"); // how long it takes, nobody knows
        }
      });
      const link = document.createElement("a");
      link.href = answer.translatedFileUrl;
      link.download = "";
      link.textContent = `Download the translation of ${file.name}`;
      page.result.append(link, ...(answer.warnings || []).map((warning) =>
        Object.assign(document.createElement("span"), { className: "notes", textContent: warning })));
    } catch (error) {
      page.result.append(Object.assign(document.createElement("span"), { className: "problem", textContent: error.message }));
    } finally {
      page.progress.hidden = true;
      page.send.disabled = false;
    }
  });
}
