// The editor: a look at what is written while it is, Ctrl+S, and a warning before it is lost. Without this the form has buttons for it.

const form = document.getElementById("editor");

if (form) {
	const text = form.elements.text;
	const state = document.getElementById("state");
	const preview = form.querySelector("[formtarget=preview]");
	// What a conflict has left is not saved, either.
	let isSaved = document.querySelector(".problem") === null;
	let timer;

	const show = () => {
		if (preview) {
			form.requestSubmit(preview);
		}
	};

	if (!isSaved) {
		show();
	}

	text.addEventListener("input", () => {
		isSaved = false;
		state.textContent = "Not saved yet";
		clearTimeout(timer);
		timer = setTimeout(show, 500);
	});

	form.addEventListener("submit", (event) => {
		if (event.submitter !== preview || !preview) {
			isSaved = true;
			state.textContent = "Is being saved";
		}
	});

	document.addEventListener("keydown", (event) => {
		if ((event.ctrlKey || event.metaKey) && event.key === "s") {
			event.preventDefault();
			form.requestSubmit();
		}
	});

	addEventListener("beforeunload", (event) => {
		if (!isSaved) {
			event.preventDefault();
		}
	});
}
