// Uploads with progress: files that are chosen, and files and folders that are dropped. Without this the form sends them by itself.

const AT_A_TIME = 2;

const form = document.getElementById("upload");
const list = document.getElementById("uploads");
const chooser = form.elements.file;
const waiting = [];
let running = 0;
let unsettled = 0;

form.querySelector("button").hidden = true;
document.getElementById("hint").hidden = false;
chooser.required = false;

const element = (name, properties = {}) => Object.assign(document.createElement(name), properties);

// What the server says, if that is a text for people and not a page.
function told(request) {
	if (request.getResponseHeader("Content-Type")?.startsWith("text/plain")) {
		return request.responseText;
	}
	return request.status === 401
		? "You are not logged in any more. Nothing is changed: load the page anew."
		: `The server has answered ${request.status}. Nothing is changed: try again later.`;
}

// One upload, with its line in the list.
class Upload {
	constructor(file, path) {
		this.file = file;
		this.path = path;
		this.line = element("li");
		this.bar = element("progress", { max: 1, value: 0 });
		this.bar.setAttribute("aria-label", `Progress of ${path}`);
		this.told = element("span", { className: "told" });
		this.told.setAttribute("role", "status");
		this.button = element("button", { type: "button", className: "plain" });
		this.line.append(element("bdi", { textContent: path }), this.bar, this.button, this.told);
		list.append(this.line);
		this.enqueue(form.elements.replace.checked);
	}

	enqueue(replaces) {
		this.replaces = replaces;
		this.bar.value = 0;
		this.bar.hidden = false;
		this.offer("Cancel", () => this.cancel());
		this.tell("Waits for its turn");
		unsettled += 1;
		waiting.push(this);
		next();
	}

	send() {
		const data = new FormData();
		if (this.replaces) {
			data.append("replace", "yes");
		}
		data.append("path", this.path);
		data.append("file", this.file);
		const request = this.request = new XMLHttpRequest();
		request.open("POST", "./?upload");
		request.setRequestHeader("Accept", "text/plain");
		request.upload.onprogress = (event) => {
			if (event.lengthComputable) {
				this.bar.value = event.loaded / event.total;
				this.tell(event.loaded === event.total ? "Is being published" : `${Math.floor(100 * event.loaded / event.total)} %`);
			}
		};
		request.onload = () => this.ended(request.status, told(request));
		request.onerror = () => this.ended(0, "The connection broke. Nothing is changed.");
		request.onabort = () => this.ended(-1, "Cancelled. Nothing is changed.");
		this.tell("0 %");
		request.send(data);
	}

	ended(status, text) {
		running -= 1;
		this.request = null;
		if (status >= 200 && status < 300) {
			this.settle("Published");
			this.button.remove();
		} else if (status === 412) {
			this.settle("There is a file of this name. Replaced, it is kept as a version.", true);
			this.offer("Replace", () => this.enqueue(true));
		} else {
			this.settle(text, status !== -1);
			this.offer("Try again", () => this.enqueue(this.replaces));
		}
		next();
	}

	cancel() {
		if (this.request) {
			this.request.abort();
		} else {
			waiting.splice(waiting.indexOf(this), 1);
			this.settle("Cancelled. Nothing is changed.");
			this.offer("Try again", () => this.enqueue(this.replaces));
		}
	}

	settle(text, isProblem = false) {
		unsettled -= 1;
		this.bar.hidden = true;
		this.tell(text, isProblem);
	}

	tell(text, isProblem = false) {
		this.told.textContent = text;
		this.told.classList.toggle("problem", isProblem);
	}

	offer(text, action) {
		this.button.textContent = text;
		this.button.setAttribute("aria-label", `${text}: ${this.path}`);
		this.button.onclick = action;
	}
}

// Begins what has its turn. When all is published the list is loaded anew; where something is left to decide, it is offered.
function next() {
	while (running < AT_A_TIME && waiting.length > 0) {
		running += 1;
		waiting.shift().send();
	}
	if (unsettled > 0 || list.children.length === 0) {
		return;
	}
	if (list.querySelector("button") === null) {
		location.replace("./?uploaded");
	} else if (list.querySelector(".again") === null) {
		const line = element("li", { className: "again" });
		line.append(element("a", { href: "./", textContent: "Show the folder as it is now" }));
		list.append(line);
	}
}

function add(files) {
	for (const file of files) {
		new Upload(file, file.webkitRelativePath || file.name);
	}
}

// All files in what was dropped, folders and all.
async function drop(entry, folder) {
	if (entry.isFile) {
		const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
		new Upload(file, folder + file.name);
	} else if (entry.isDirectory) {
		const reader = entry.createReader();
		for (;;) {
			const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
			if (entries.length === 0) {
				break;
			}
			for (const inner of entries) {
				await drop(inner, `${folder}${entry.name}/`);
			}
		}
	}
}

chooser.addEventListener("change", () => {
	add(chooser.files);
	chooser.value = "";
});

form.addEventListener("submit", (event) => event.preventDefault());

const isOfFiles = (event) => event.dataTransfer.types.includes("Files");

// Everywhere: who misses the box would leave the page for the file.
document.addEventListener("dragover", (event) => {
	if (isOfFiles(event)) {
		event.preventDefault();
		form.classList.add("over");
	}
});
document.addEventListener("dragleave", (event) => {
	if (event.relatedTarget === null) {
		form.classList.remove("over");
	}
});
document.addEventListener("drop", (event) => {
	if (!isOfFiles(event)) {
		return;
	}
	event.preventDefault();
	form.classList.remove("over");
	// They are gone once this has returned.
	const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
	if (entries.length > 0) {
		entries.forEach((entry) => drop(entry, "").catch((error) => {
			list.append(element("li", { textContent: `${entry.name} cannot be read: ${error.message}` }));
		}));
	} else {
		add(event.dataTransfer.files);
	}
});

addEventListener("beforeunload", (event) => {
	if (unsettled > 0) {
		event.preventDefault();
	}
});
