STYLE = 'plain'
