package portal

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/perdiem/perdiem/internal/testkit"
)

// TestAccessibility looks at every look with axe-core, wide and narrow, light and dark: nothing that it finds is serious or critical.
func TestAccessibility(t *testing.T) {
	axe := testkit.NewAxe(t)
	g := openGallery(t)
	for _, l := range looks {
		for _, as := range []struct {
			theme string
			size
		}{{"light", wide}, {"dark", wide}, {"light", narrow}, {"dark", narrow}} {
			t.Run(fmt.Sprintf("%s-%d-%s", l.name, as.width, as.theme), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(g.browser, testkit.BrowserPatience)
				defer cancel()
				if err := g.open(ctx, l, as.theme, as.size); err != nil {
					t.Fatal(err)
				}
				found, err := axe.Look(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range found {
					if v.Impact == "serious" || v.Impact == "critical" {
						t.Error(v)
					} else {
						t.Log(v)
					}
				}
			})
		}
	}
}

// TestAccessibilityFinds shows axe-core what it is to find: an image without words, and words that cannot be read.
func TestAccessibilityFinds(t *testing.T) {
	axe := testkit.NewAxe(t)
	ctx, cancel := context.WithTimeout(testkit.Chromium(t), testkit.BrowserPatience)
	defer cancel()
	page := `data:text/html,<html lang=en><title>A</title><main><h1>A</h1><img src="data:,"><p style="color:%23aaa;background:%23fff">Words</p></main>`
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		t.Fatal(err)
	}
	found, err := axe.Look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, v := range found {
		ids[v.ID] = v.Impact
	}
	if ids["image-alt"] != "critical" || ids["color-contrast"] != "serious" {
		t.Errorf("found %v", ids)
	}
}

// controls numbers what can be operated on a page and is shown, and returns how many there are.
const controls = `(() => {
	const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
		.filter(e => e.type !== "hidden" && e.checkVisibility({visibilityProperty: true}));
	all.forEach((e, i) => e.dataset.control = i);
	return all.map(e => e.tagName + " " + (e.getAttribute("aria-label") ?? e.id ?? "") + " " + e.textContent.trim());
})()`

// focused is the number of the control that has the focus, and whether that can be seen; -1: none has it.
const focused = `(() => {
	const e = document.activeElement;
	if (e.dataset.control === undefined) return [-1, 1];
	const s = getComputedStyle(e);
	return [+e.dataset.control, s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 ? 1 : 0];
})()`

// TestKeyboard walks every look by the Tab key alone: it comes to every control, in the order of the page, and shows where it is.
func TestKeyboard(t *testing.T) {
	g := openGallery(t)
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(g.browser, testkit.BrowserPatience)
			defer cancel()
			if err := g.open(ctx, l, "light", wide); err != nil {
				t.Fatal(err)
			}
			names, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](controls))
			if err != nil {
				t.Fatal(err)
			}
			if len(names) < 2 {
				t.Fatalf("controls %q", names)
			}
			reached := map[int]bool{}
			before, back := -1, 0
			for range 2*len(names) + 4 {
				if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
					t.Fatal(err)
				}
				at, err := chromedp.Run(ctx, chromedp.Evaluate[[2]int](focused))
				if err != nil {
					t.Fatal(err)
				}
				if at[0] < 0 {
					continue
				}
				if at[1] == 0 {
					t.Errorf("it cannot be seen that the focus is on %q", names[at[0]])
				}
				if at[0] < before {
					back++
				}
				reached[at[0]], before = true, at[0]
			}
			for i, name := range names {
				if !reached[i] {
					t.Errorf("%q is not reached", name)
				}
			}
			if back > 3 { // once more round the page, from where it began
				t.Errorf("the focus went back %d times", back)
			}
		})
	}
}

// TestKeyboardJourney signs in, and goes to an application's Analytics tab and its numbers, without a mouse.
func TestKeyboardJourney(t *testing.T) {
	g := openGallery(t)
	ctx, cancel := context.WithTimeout(g.browser, testkit.BrowserPatience)
	defer cancel()
	if err := g.open(ctx, look{path: "/signin"}, "light", wide); err != nil {
		t.Fatal(err)
	}
	// tabTo goes on to the control of which a condition is true.
	tabTo := func(condition string) {
		t.Helper()
		for range 60 {
			if is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`(e => `+condition+`)(document.activeElement)`)); err != nil {
				t.Fatal(err)
			} else if is {
				return
			}
			if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatalf("Tab does not come to %s", condition)
	}
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	tabTo(`e.id === "email"`)
	do(chromedp.KeyEvent("viewer@acme.example"))
	tabTo(`e.id === "password"`)
	do(chromedp.KeyEvent(password), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#applications"))
	tabTo(`e.closest("[data-application=acme]") !== null`)
	do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#usage"))
	tabTo(`e.tagName === "SUMMARY"`)
	do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("table.numbers"))
	tabTo(`e.name === "member"`)
	do(chromedp.KeyEvent("m-1"), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#member-usage"))
	at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + location.search`))
	if err != nil || !strings.HasPrefix(at, "/apps/acme/analytics?") || !strings.Contains(at, "member=m-1") {
		t.Errorf("at %s, %v", at, err)
	}
}
