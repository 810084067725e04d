// A button that copies the secret beside it. Without the script it is selected by hand.

const secret = document.getElementById('secret');
const button = document.createElement('button');
button.className = 'plain';
button.textContent = 'Copy';
button.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(secret.textContent);
    button.textContent = 'Copied';
  } catch { // browsers let nobody copy on pages without TLS, but on this machine
    getSelection().selectAllChildren(secret);
    button.textContent = 'Selected';
  }
});
secret.after(button);
