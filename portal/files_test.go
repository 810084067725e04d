package portal

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	selectors  = regexp.MustCompile(`([^{}]+)\{`)
	styleNames = regexp.MustCompile(`[.#]([a-zA-Z][\w-]*)`)
	properties = regexp.MustCompile(`(--[\w-]+):`)
)

// Each class and id that has a style is in a page, in a script, or in what makes the pages; and each of the style's variables is used.
func TestStylesAreUsed(t *testing.T) {
	found, err := fs.Glob(embedded, "pages/*/*")
	if err != nil {
		t.Fatal(err)
	}
	users := near + " " + wall + " narrow " // which handlers choose
	for _, name := range found {
		if path.Ext(name) != ".css" {
			content, err := fs.ReadFile(embedded, name)
			if err != nil {
				t.Fatal(err)
			}
			users += string(content)
		}
	}
	s := openSite(t, sample)
	style := string(s.portal.files.byName[s.portal.files.names["style.css"]].content)
	isUsed := func(name string) bool {
		return regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(name) + `($|[^\w-])`).MatchString(users)
	}
	for _, selector := range selectors.FindAllStringSubmatch(style, -1) {
		for _, name := range styleNames.FindAllStringSubmatch(selector[1], -1) {
			if !isUsed(name[1]) {
				t.Errorf("nothing is %s of the style", name[0])
			}
		}
	}
	for _, property := range properties.FindAllStringSubmatch(style, -1) {
		if !strings.Contains(style, "var("+property[1]+")") {
			t.Errorf("nothing has the style's %s", property[1])
		}
	}
}
