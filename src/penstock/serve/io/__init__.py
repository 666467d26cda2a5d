"""Where the serve wing touches sockets, files and clocks: listener, upstream pool, scraper, admin port."""
