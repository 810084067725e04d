package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Chromium starts a browser with a profile of its own, and returns the context of a tab; it ends with the test. It speaks to nobody but those whose
// pages are opened. There has to be a chromium on the PATH: make test installs it.
func Chromium(t testing.TB) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(end)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(tab) // waits for the browser's end, which lets the profile's folder go
		closeTab()
	})
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("no browser: %v (is there a chromium? On Debian: apt-get install chromium)", err)
	}
	return tab
}

// BrowserPatience is how long a browser may take for what is asked of it at a time.
const BrowserPatience = 30 * time.Second
