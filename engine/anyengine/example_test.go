package anyengine_test

import (
	"cmp"
	"context"
	"log"
	"os"
	"path/filepath"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// The store of an app is a matter of its configuration.
func ExampleOpen() {
	store, err := anyengine.Open(context.Background(), cmp.Or(os.Getenv("SHOP_STORE"), "sqlite:"+filepath.Join(os.TempDir(), "shop.db")), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	app, err := toot.New(store, &toot.Options{ChannelPrefix: "org.example.shop."})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	// Output:
}
